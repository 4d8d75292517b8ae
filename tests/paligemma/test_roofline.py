import pytest

from bench.roofline import PEAKS, Shape, peak_of


def test_the_3b_model_has_its_published_number_of_weights() -> None:
    shape = Shape()
    weights = shape.text_weights + shape.vocabulary * shape.width + shape.vision_weights
    assert weights == pytest.approx(3.03e9, rel=0.01)


def test_a_device_without_a_data_sheet_is_refused() -> None:
    with pytest.raises(ValueError, match="PEAKS"):
        peak_of("NVIDIA GeForce RTX 4090")


def test_more_requests_take_longer_and_each_one_less() -> None:
    seconds = [Shape().least_seconds(PEAKS["NVIDIA H200"], requests, 1030, 128) for requests in (1, 8, 64)]
    assert seconds == sorted(seconds)
    assert seconds[2] / 64 < seconds[1] / 8 < seconds[0]
