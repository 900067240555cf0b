"""Whether a GPU can be used, asked of the driver; without one the answer is a sentence."""

import shutil
import subprocess

import pytest

from inference import gpu
from inference.errors import EngineUnavailable
from inference.gpu import Gpu

SIGNATURES = """
/* Stands in for the driver's library, with the signatures of cuda.h: two GPUs, if START is 0. */
#include <string.h>
#include <stdio.h>
typedef void *CUcontext;
static void told(const char *what, long number) {
  FILE *file = fopen(TOLD, "a"); fprintf(file, "%s %ld\\n", what, number); fclose(file); }
int cuDevicePrimaryCtxRetain(CUcontext *context, int device) {
  told("retain", device); *context = (CUcontext)(0x700000000 + device); return 0; }
int cuCtxPushCurrent_v2(CUcontext context) { told("push", (long)context - 0x700000000); return 0; }
int cuCtxPopCurrent_v2(CUcontext *context) { told("pop", 0); return 0; }
typedef int CUdevice;
int cuInit(unsigned int flags) { return flags ? 1 : START; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(CUdevice *device, int ordinal) { *device = 40 + ordinal; return 0; }
int cuDeviceGetName(char *name, int length, CUdevice device) {
  strncpy(name, device == 41 ? "NVIDIA L4" : "NVIDIA T4", length); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  int of[2][2] = {{7, 5}, {8, 9}};
  if (attribute != 75 && attribute != 76) return 1;
  *value = of[device - 40][attribute - 75]; return 0; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
"""
NVRM = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 05:26:38 UTC 2025\n"


@pytest.fixture
def driver(tmp_path):
    """Compiles a library that answers as the driver does."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")

    def compiled(*, start=0, count=2):
        source, library = tmp_path / "driver.c", tmp_path / f"driver-{start}-{count}.so"
        source.write_text(SIGNATURES)
        subprocess.run(
            [
                "cc",
                "-shared",
                "-fPIC",
                "-o",
                library,
                source,
                f"-DSTART={start}",
                f"-DCOUNT={count}",
                f'-DTOLD="{tmp_path / "told"}"',
            ],
            check=True,
        )
        return str(library)

    return compiled


def test_without_a_driver_there_is_no_gpu_and_a_sentence():
    with pytest.raises(EngineUnavailable, match=r"no usable GPU: .*libnowhere\.so\.1 is not here"):
        gpu.find("libnowhere.so.1")


def test_every_gpu_is_told_with_its_compute_capability_and_driver(driver, tmp_path):
    version = tmp_path / "version"
    version.write_text(NVRM)

    assert gpu.find(driver(), version) == (
        Gpu(ordinal=0, name="NVIDIA T4", compute_capability="7.5", driver="570.86.15"),
        Gpu(ordinal=1, name="NVIDIA L4", compute_capability="8.9", driver="570.86.15"),
    )


def test_a_driver_that_hides_its_version_is_named_by_the_cuda_it_speaks(driver, tmp_path):
    assert gpu.find(driver(), tmp_path / "absent")[0].driver == "CUDA 12.8"


def test_a_driver_that_does_not_start_is_no_gpu(driver):
    """100 is CUDA_ERROR_NO_DEVICE."""
    with pytest.raises(EngineUnavailable, match="cuInit gave 100"):
        gpu.find(driver(start=100))


def test_a_driver_that_shows_none_is_no_gpu(driver):
    """As under CUDA_VISIBLE_DEVICES= with nothing behind it."""
    with pytest.raises(EngineUnavailable, match="shows none"):
        gpu.find(driver(count=0))


def test_a_gpu_is_asked_for_by_its_number(driver):
    assert gpu.at(1, driver()).name == "NVIDIA L4"
    with pytest.raises(EngineUnavailable, match=r"no usable GPU 2: .* shows 2"):
        gpu.at(2, driver())


def test_a_gpu_is_the_current_one_while_it_is_asked_for(driver, tmp_path):
    """By its handle, 40 and its number here, and a context that is wider than an int."""

    def fail():
        with gpu.current(1, driver()):
            assert (tmp_path / "told").read_text() == "retain 41\npush 41\n"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "told").read_text() == "retain 41\npush 41\npop 0\n"


def test_a_gpu_that_is_not_there_cannot_be_the_current_one(driver):
    with pytest.raises(EngineUnavailable, match=r"no usable GPU 2"), gpu.current(2, driver()):
        raise AssertionError
