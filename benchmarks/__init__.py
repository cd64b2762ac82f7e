"""What a call costs in C, in ortx and in the official package: ``python -m benchmarks``."""

import os

# Has to be there before anybody loads ONNX Runtime. Telemetry would cost a thread, network traffic
# and some percent of a tiny run.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
