"""Checks an ONNX model of the student, and runs it in onnxruntime, from dies to its answers.

python onnx_answers.py MODEL WAFERS ANSWERS [--unoptimized]

WAFERS is a safetensors file with `dies` (N, rows, cols), 0, 1 or 2. Pixels are made as the model's own
metadata says. ANSWERS gets `mask`, `logits`, `embedding`, and `steps`, the embedding's integers, where the
model has any. `--unoptimized` runs the operators one by one, as the standard describes them.
"""

import argparse
import json

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

OUTPUTS = ["mask", "logits", "embedding"]


def render(dies, palette, size):
    """Nearest neighbour, then a colour for each die: (N, 3, size, size) in 0...1."""
    rows, columns = (numpy.arange(size) * count // size for count in dies.shape[1:])
    pixels = dies[:, rows][:, :, columns].astype(int)
    return (palette[pixels] / 255).transpose(0, 3, 1, 2).astype(numpy.float32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("wafers")
    parser.add_argument("answers")
    parser.add_argument("--unoptimized", action="store_true")
    args = parser.parse_args()

    model = onnx.load(args.model)
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert len(json.loads(facts["classes"])) == 38
    size = int(facts["input_size"])
    palette = numpy.array(json.loads(facts["palette"]))

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Or int8 sums saturate at 16 bits on x86-64 processors without VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if args.unoptimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == OUTPUTS

    dies = load_file(args.wafers)["dies"]
    parts = []
    for start in range(0, len(dies), 8):
        image = render(dies[start : start + 8], palette, size)
        parts.append(session.run(OUTPUTS, {"image": image}))
    answers = {name: numpy.concatenate(values) for name, values in zip(OUTPUTS, zip(*parts))}

    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] == "embedding":
            scale, zero_point = (constants[name] for name in node.input[1:])
            answers["steps"] = numpy.rint(answers["embedding"] / scale).astype(numpy.float32) + zero_point
    save_file({name: numpy.ascontiguousarray(value) for name, value in answers.items()}, args.answers)


main()
