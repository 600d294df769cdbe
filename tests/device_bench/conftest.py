from tests.device_bench.tiny_models import split_tflite, tail_tflite, tiny_tflite, wide_tflite

__all__ = ["split_tflite", "tail_tflite", "tiny_tflite", "wide_tflite"]
