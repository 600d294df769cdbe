"""What every section of a configuration is: frozen, and its errors name the key, the value and the rule."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError

PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]


def _distinct[T](values: tuple[T, ...]) -> tuple[T, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is given {values.count(value)} times; keep one")
    return values


Distinct = AfterValidator(_distinct)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def validate_section[S: Section](section: type[S], values: dict[str, Any], source: str) -> S:
    """Validate a plain mapping as one section, such as an agent's own options.

    Raises:
        ConfigError: every broken rule, each with its key; `source` stands before them.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error, section)}") from error


def _explain(error: ValidationError, section: type[Section]) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        if problem["type"] == "extra_forbidden":
            lines.append(
                f"{key}: unknown key; known here: {', '.join(_known_keys(section, problem['loc'][:-1])) or 'none'}"
            )
        else:
            given = problem["input"]
            shown = "" if isinstance(given, dict) else f" (got {given!r})"
            lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n  ".join(lines) if len(lines) == 1 else "\n  " + "\n  ".join(lines)


def _known_keys(section: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        section = field.annotation if field else None
    return sorted(section.model_fields) if hasattr(section, "model_fields") else []
