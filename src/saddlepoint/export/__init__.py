"""Export of generators: files that run without their game, each compared with the original, and a model card.

original          everything that makes a run's samples, and the samples that every file must reproduce
export            the export folder: files by format, description, picture, card
import_run        an external generator or external samples, evaluated and saved as a run folder
sampling_module   all networks and makers that samples pass through, as one module
determinism       checks that a generator draws no random numbers itself
frozen_virtual_batch_norm   virtual batch norm with fixed reference statistics
description       the yaml file next to the weights: latent, conditions, sides, shape, range
load_generator    a generator from its file
generator         a loaded generator as a function: latents and conditions in, samples in [-1, 1] out
format            writers and readers of each file format
agreement         the largest difference from the original
card hub          the model card; the upload to the Hugging Face hub
"""
