"""One network of each family of `keras.applications`; benchmarks/every_application.py tests all of them."""

import importlib.util
from pathlib import Path

import pytest

FAMILIES = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3", "MobileNet", "MobileNetV2"),
    *("MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "Xception"),
)


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parent.parent / "benchmarks" / "every_application.py"
    spec = importlib.util.spec_from_file_location("every_application", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_kill_resume_save_and_extract(benchmark, tmp_path, name):
    count, _, difference = benchmark.check_application(
        f"keras:{name}", benchmark.write_few_digits(tmp_path), tmp_path / "run"
    )
    assert int(count.replace(",", "")) > 1_000_000 and float(difference) < 1e-5
