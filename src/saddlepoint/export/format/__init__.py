"""Ways to write a generator down, and to read it back as a function of its inputs.

safetensors    weights; the network is built from its description
program onnx   graphs, with the weights in them; TorchScript, read alone
"""
