"""Milliseconds of one inference in onnxruntime, one thread: median and least of some rounds, as JSON."""

import json
import sys
import time

import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
image = numpy.random.default_rng(1).integers(0, 2, (1, 3, 224, 224)).astype(numpy.float32)
times = []
for turn in range(110):
    start = time.perf_counter()
    session.run(None, {"image": image})
    if turn >= 10:
        times.append((time.perf_counter() - start) * 1e3)
times.sort()
print(json.dumps({"median": times[50], "least": times[0]}))
