import pytest
import torch

from sr_cli.errors import TrainingError
from sr_cli.training.run_folder import load_state, save_state


def test_state_comes_back_and_nothing_else_is_unpickled(tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, {"step": 3, "network": {"a": torch.ones(2)}})
    assert load_state(path)["step"] == 3

    class Malice:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").mkdir, ())

    torch.save({"step": Malice()}, path)
    with pytest.raises(TrainingError, match=r"last\.pt"):
        load_state(path)
    assert not (tmp_path / "harm").exists()
    with pytest.raises(TrainingError, match="nothing to resume"):
        load_state(tmp_path / "missing.pt")
