"""Hints name what is wrong with a machine, and only that."""

from dataclasses import replace

import pytest

from sr_cli.system.hints import EXTRAS, Setup, hints

FINE = Setup(
    torch="2.9.1+cu128", torchvision="0.24.1+cu128", cuda="12.8", uses_gpu=True, nvidia_gpus=1, instructions="AVX512",
    is_x86=True, has_bfloat16=False, missing=(), environment={}, load=0.5, cpus=4,
)  # fmt: skip
ON_CPU = replace(FINE, cuda=None, torch="2.9.1+cpu", torchvision="0.24.1", uses_gpu=False, nvidia_gpus=0)


@pytest.mark.parametrize(
    "setup",
    [
        FINE,
        replace(ON_CPU, has_bfloat16=True),
        replace(ON_CPU, has_bfloat16=True, is_x86=False, instructions="DEFAULT"),
        replace(FINE, torch=None, torchvision=None, uses_gpu=False, nvidia_gpus=0, cuda=None),
        replace(FINE, torch="2.14.1", torchvision="0.29.1", environment={"OMP_WAIT_POLICY": "PASSIVE"}),
    ],
)
def test_nothing_is_said_where_all_is_well(setup):
    assert hints(setup) == []


@pytest.mark.parametrize(
    ("setup", "problem", "remedy"),
    [
        (replace(FINE, torchvision="0.23.0+cu128"), "don't belong together", "pip install --upgrade torch torchvision"),
        (replace(FINE, torchvision="0.24.1+cpu"), "don't belong together", "from one place"),
        (replace(FINE, uses_gpu=False, has_bfloat16=True), "driver may be too old for CUDA 12.8", "Update the driver"),
        (replace(ON_CPU, nvidia_gpus=1, has_bfloat16=True), "built without CUDA", "pytorch.org/get-started"),
        (
            replace(FINE, uses_gpu=False, nvidia_gpus=0, has_bfloat16=True),
            "built for CUDA 12.8, but there is no NVIDIA GPU",
            "download.pytorch.org/whl/cpu",
        ),
        (replace(ON_CPU, instructions="DEFAULT"), "no AVX2", "slowly"),
        (ON_CPU, "isn't faster in bfloat16", "float32"),
        (replace(FINE, environment={"OMP_WAIT_POLICY": "active"}), "OMP_WAIT_POLICY=active", "unset it"),
        (replace(FINE, environment={"GOMP_SPINCOUNT": "infinite"}, load=9.0), "load 9.0 on 4", "unset it"),
        (replace(FINE, load=9.0), "load 9.0 on 4", "longer"),
        (replace(FINE, environment={"OMP_NUM_THREADS": "1"}), "3 of 4 CPUs unused", "unset it"),
    ],
)
def test_a_problem_is_named_with_its_remedy(setup, problem, remedy):
    (hint,) = hints(setup)
    assert problem in hint and remedy in hint


def test_every_optional_package_that_is_missing_is_named():
    found = hints(replace(FINE, missing=tuple(EXTRAS)))
    assert len(found) == len(EXTRAS)
    assert all(f"pip install {packages}" in hint for hint, (_, packages) in zip(found, EXTRAS.values(), strict=True))
