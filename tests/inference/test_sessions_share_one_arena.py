"""Sessions that run one after the other hold together what one of them needs."""

from __future__ import annotations

import subprocess
import sys

RUNS_FOUR = """
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from pathlib import Path
from whyray.base.free_memory import process_field
from whyray.inference import RuntimeOptions, open_session

nodes = [helper.make_node("Mul", ["x", "many"], ["y"]), helper.make_node("ReduceSum", ["y"], ["z"])]
graph = helper.make_graph(
    nodes,
    "takes 128 MiB",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1024])],
    [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    [numpy_helper.from_array(np.ones((32, 1, 1024), np.float32), "many")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 9
x, held, answers = np.ones((1024, 1024), np.float32), [], []
sessions = [open_session(model.SerializeToString(), RuntimeOptions(device="cpu"), name="test") for _ in range(4)]
for session in sessions:
    answers.append(float(session.run(["z"], {"x": x})[0].item()))
    held.append(process_field(Path("/proc/self/status"), "VmRSS") >> 20)
assert answers == [32.0 * 1024 * 1024] * 4, answers
assert held[-1] - held[0] < 200, held  # with an arena each: three times 136
"""


def test_four_sessions_hold_what_one_of_them_needs() -> None:
    done = subprocess.run([sys.executable, "-c", RUNS_FOUR], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
