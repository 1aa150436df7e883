"""No weights file runs code, whatever its container, its name and the way in which its pickle calls."""

import io
import os
import pickle
import random
import shutil
import zipfile

import torch

from sr_cli.errors import SrError
from sr_cli.training.run_folder import load_state
from sr_cli.upscaling.load import load_weights
from support.harness import cases, mutate, one_line


class Call:
    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, self.arguments


def test_no_weights_run_code(tmp_path):
    marker = tmp_path / "marker"
    program = f"open({str(marker)!r}, 'w')"
    calls = [
        Call(os.system, f"touch {marker}"),
        Call(eval, program),
        Call(exec, program),
        Call(open, str(marker), "w"),
        Call(os.mkdir, str(marker)),
        Call(shutil.copy, __file__, str(marker)),
        Call(torch.load, str(marker)),
        Call(map, eval, [program]),
    ]
    plain = {"params": {"body.0.weight": torch.zeros(8, 3, 3, 3)}}
    refused = 0
    for case in cases(40, long=1000):
        generator = random.Random(case)
        call = calls[case % len(calls)]
        mixed = {"state_dict": {**plain["params"], "x": call}}
        state = generator.choice((call, {"params": call}, mixed, [plain, call]))
        content = io.BytesIO()
        container = generator.choice(("zip", "legacy", "pickle", "archive"))
        protocol = generator.choice((2, 3, 4))
        if container in ("zip", "legacy"):
            torch.save(state, content, pickle_protocol=protocol, _use_new_zipfile_serialization=container == "zip")
        elif container == "pickle":
            pickle.dump(state, content, protocol=protocol)
        else:
            with zipfile.ZipFile(content, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(state, protocol=protocol))
        changed = content.getvalue()
        if generator.random() < 0.3:
            changed = mutate(changed, generator, other=pickle.dumps(calls[0]))
        path = tmp_path / f"weights.{generator.choice(('pth', 'pt', 'ckpt', 'bin', 'safetensors'))}"
        path.write_bytes(changed)
        for read in (load_weights, load_state):
            try:
                read(path)
            except SrError as error:
                assert one_line(error) is None
                refused += 1
        assert not marker.exists(), f"case {case}: {container}, {call.function}"
    print(f"{case + 1} files, each read as weights and as a state, {refused} times refused, no code run")
