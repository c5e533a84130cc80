"""A generator apart from its game: files that others can run, each held against the original, and what it says of it.

original      all that makes a run's samples, and what it makes of the inputs that every file is asked for
export        the folder: files by format, description, picture, card
importing     somebody else's generator or samples as a run folder
whole         every network and maker that samples pass through, as one module
noise         the refusal of random numbers that are drawn inside
frozen        what virtual batch norm has seen, fixed; the state without the reference batch
description   the small yaml beside the weights: latent, conditions, sides, shape, range
exported generator    a file as a function: latents and conditions in, samples in [-1, 1] out, whoever made the network
format        ways to write it down and to read it back
agreement     the largest difference from the original
card hub      the model card as a page; the push to a hub
"""
