"""Writers and readers of each file format; the readers return a function of the generator's inputs.

safetensors    weights only; the network is built from the description
program        a torch.export program, which contains the network; also reads TorchScript
onnx           an ONNX graph, which contains the network
"""
