"""The shipped networks as the tests build them: whole, unless a test would then take minutes."""

from __future__ import annotations

from typing import Any

import models

# WRN-28-10 takes 21 billion multiply-adds for one image of 64 px; k = 2 has the same layers, k = 1 a shortcut less.
NARROW: dict[str, dict[str, Any]] = {"wide_resnet28": {"width": 2}}
OPTIONS = {name: NARROW.get(name, {}) for name in models.names()}
