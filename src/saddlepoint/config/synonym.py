"""Names used by other programs, with the key or value to use here: epochs, lr, loss, gpu, objective=wgan-gp.

They are never replaced silently: the command stops with a message that gives what to type.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig

from saddlepoint.config import catalogue

# keys of other programs -> the overrides to type; {} is the value
KEYS = {
    "loss criterion gan_loss gan_mode loss_type adversarial_loss adv_loss gan_type": "objective={}",
    "bs batch_size batchsize train_batch_size": "batch={}",
    "dataset dataset_name data_name": "data={}",
    "model arch net network backbone architectures": "architecture={}",
    "optim opt optimiser": "optimizer={}",
    "reg regularisation regularization penalty": "'regularizer=[{}]'",
    "metrics eval_metric": "'metric=[{}]'",
    "callbacks": "'callback=[{}]'",
    "lr learning_rate": "optimizer.generator.lr={} optimizer.discriminator.lr={}",
    "g_lr lr_g lrg gen_lr lr_gen glr lr_generator generator_lr": "optimizer.generator.lr={}",
    "d_lr lr_d lrd disc_lr lr_disc dlr lr_discriminator discriminator_lr": "optimizer.discriminator.lr={}",
    "betas": "'optimizer.generator.betas={}' 'optimizer.discriminator.betas={}'",
    "beta1 b1 beta_1 adam_beta1": "'optimizer.generator.betas=[{},0.999]' 'optimizer.discriminator.betas=[{},0.999]'",
    "beta2 b2 beta_2 adam_beta2": "'optimizer.generator.betas=[0.5,{}]' 'optimizer.discriminator.betas=[0.5,{}]'",
    "weight_decay wd": "optimizer.generator.weight_decay={} optimizer.discriminator.weight_decay={}",
    "eps": "optimizer.generator.eps={} optimizer.discriminator.eps={}",
    "n_critic ncritic critic_iters n_dis num_d_steps d_steps disc_iters d_iters": "game.players.generator.every={}",
    "z_dim zdim nz latent_dim latent_size noise_dim dim_z latent": "prior.z.dim={}",
    "gpus n_gpu ngpu num_gpus n_gpus ngpus": "device=cuda devices={}",
    "gpu_id gpu_ids device_id": "device=cuda",
    "cuda use_cuda use_gpu": "device=cuda",
    "cpu no_cuda": "device=cpu",
    "num_nodes nnodes n_nodes": "nodes={}",
    "manual_seed manualseed random_seed random_state": "seed={}",
    "precision": "trainer.precision={}",
    "amp fp16 half mixed_precision use_amp": "trainer.precision=16-mixed",
    "bf16": "trainer.precision=bf16-mixed",
    "workers num_workers n_workers n_cpu": "data.workers={}",
    "data_root dataroot root data_dir datadir data_path": "data.root={}",
    "image_size img_size imsize imagesize resolution img_resolution": "data.size={}",
    "channels nc img_channels n_channels": "data.channels={}",
    "output output_dir out outdir out_dir save_dir save_path log_dir logdir results results_dir outf workdir":
        "outputs={}",
    "run_name exp_name experiment_name exp": "name={}",
    "num_threads n_threads": "threads={}",
    "wandb_project project": "logger.project={}",
    "wandb_entity entity": "logger.entity={}",
    "tags": "'logger.tags={}'",
    "wandb_mode": "logger.mode={}",
    "no_wandb": "logger=none",
    "gp lambda_gp gp_weight gp_lambda lambda": "+regularizer=gradient_penalty "
        "regularizer.discriminator.gradient_penalty.weight={}",
    "r1 r1_gamma gamma": "+regularizer=r1 regularizer.discriminator.r1.weight={}",
    "r2": "+regularizer=r2 regularizer.discriminator.r2.weight={}",
    "label_smoothing smoothing real_label": "objective.discriminator.real_label=0.9",
    "grad_clip clip clip_grad max_grad_norm gradient_clip_val":
        "game.players.generator.clip={} game.players.discriminator.clip={}",
    "accumulate grad_accum accumulate_grad_batches gradient_accumulation_steps":
        "game.players.generator.accumulate={} game.players.discriminator.accumulate={}",
    "ema use_ema": "game.players.generator.average.half_life=20_000",
    "eval_every eval_interval eval_freq fid_every": "callback.evaluation.images_between=<images>",
    "sample_interval sample_every sample_freq": "callback.grid.images_between=<images>",
    "save_every save_interval save_freq ckpt_every checkpoint_every": "callback.checkpoint.images_between=<images>",
    "log_every log_interval log_freq print_freq print_every": "callback.journal.images_between=<images>",
    "width ngf ndf hidden hidden_dim hidden_size widths": "'architecture.generator.widths=[256,256]' "
        "'architecture.discriminator.widths=[256,256]'",
    "deterministic": "trainer.deterministic={}",
    "benchmark": "trainer.benchmark={}",
    "processes num_processes": "launcher.processes={}",
    "extractor": "evaluation.extractor={}",
    "num_fakes n_fakes n_fake": "evaluation.n={}",
    "split": "evaluation.split={}",
}  # fmt: skip
BY_KEY = {key: overrides for keys, overrides in KEYS.items() for key in keys.split()}
EPOCHS = ("epochs", "epoch", "max_epochs", "num_epochs", "n_epochs", "nepochs", "nepoch", "niter_epochs")
ROUNDS = (
    "kimg", "steps", "max_steps", "num_steps", "n_steps", "total_steps", "iterations", "iters", "max_iters",
    "num_iterations", "n_iter", "niter", "niters", "rounds", "max_iter", "num_iters", "total_iterations", "train_steps",
)  # fmt: skip
SENTENCES = {  # keys whose advice is a sentence
    "gpu": "device=cuda uses a GPU, devices=2 uses two, and CUDA_VISIBLE_DEVICES=1 in the environment selects them",
    "device_ids": "devices=2 uses two GPUs, and CUDA_VISIBLE_DEVICES=0,1 in the environment selects them",
    **dict.fromkeys(
        ("checkpoint", "ckpt", "ckpt_path", "resume_from", "resume_from_checkpoint"),
        "a run resumes by itself: repeat its command",
    ),
    **dict.fromkeys(
        ("ema_decay", "ema_beta"),
        "weights are averaged over images: game.players.generator.average.half_life=20_000",
    ),
    **dict.fromkeys(
        ("wandb", "use_wandb"),
        "runs are tracked offline unless you have logged in: logger.mode=online, or logger=none for no W&B",
    ),
    "tensorboard": "a run's record is metrics.jsonl in its folder, and W&B: logger=wandb or logger=none",
}

# names of options in other programs -> the name here, with further overrides
WASSERSTEIN_GP = "wasserstein 'regularizer=[gradient_penalty]' game.players.generator.every=5"
NAMES: dict[str, dict[str, str]] = {
    "objective": {
        "wgangp wgan wgan1gp gradientpenalty earthmover": WASSERSTEIN_GP,
        "lsgan ls mse leastsquare l2 lsq": "least_squares",
        "ns nsgan nonsat vanilla gan bce bcegan standard sgan dcgan logistic softplus original crossentropy jsd":
            "nonsaturating",
        "mm mmgan saturating minmax zerosum": "minimax",
        "stylegan stylegan2 r1": "nonsaturating 'regularizer=[r1]'",
        "r3gan rpgan": "relativistic 'regularizer=[r1,r2]'",
        "ragan rsgan rgan relativisticgan": "relativistic",
        "hingeloss hingegan sagan biggan sngan geometric": "hinge",
        "dragan wgandiv": "nonsaturating 'regularizer=[gradient_penalty]'",
        "featurematching fm": "nonsaturating 'regularizer=[feature_matching]' objective.generator=null",
    },
    "data": {
        "cifar10 cifar": "cifar10_jpeg",
        "fashion fmnist fashionmnist": "fashion_mnist",
        "stacked smnist stackedmnist": "stacked_mnist",
        "celeba celebahq ffhq lsun imagenet afhq images folder imagefolder custom imgs image directory zip":
            "image_folder data.folder=<path>",
        "ring 8gaussians 25gaussians gaussian grid mog toy toy2d gmm mixture": "gaussians",
        "digit optdigits sklearn": "digits",
    },
    "architecture": {
        "fc dense linear perceptron fcn": "mlp",
        "conv cnn convnet": "dcgan",
    },
    "optimizer": {
        "adamw": "adam optimizer.generator.decoupled_weight_decay=true "
            "optimizer.discriminator.decoupled_weight_decay=true",
        "rms": "rmsprop",
        "momentum": "sgd optimizer.generator.momentum=0.9 optimizer.discriminator.momentum=0.9",
    },
    "metric": {
        "fid": "[frechet_distance]", "is": "[inception_score]", "kid": "[kernel_distance]",
        "prdc pr precisionrecall": "[precision,recall,density,coverage]", "fidinfinity": "[frechet_distance_infinity]",
        "knn nna": "[nearest_neighbour_error]",
    },
    "regularizer": {"gp wgangp lambdagp": "[gradient_penalty]", "r1r2": "[r1,r2]", "fm": "[feature_matching]"},
    "logger": {"false no off disabled null": "none", "true yes on wb weightsandbiases": "wandb"},
    "prior": {"gaussian gauss randn noise": "[normal]", "rand": "[uniform]"},
    "game": {"alternating gan default": "two_player", "sim": "simultaneous"},
    "launcher": {"slurm": "submitit"},
    "schedule": {"cosineannealing": "cosine", "lineardecay": "linear", "multistep": "step"},
}  # fmt: skip

# command -> keys of similar commands of other programs -> the overrides to type; {} is the value
TO = "out output outfile out_file output_file outdir out_dir output_dir output_folder save save_to save_path dest"
AT = "checkpoint ckpt ckpt_path snapshot step iteration"
RUN = "run_dir run_folder rundir folder dir path model model_path model_dir load"
NUMBER = "n_samples num_images num_samples nsamples n_images n_sample num_sample num_gen n_gen"
SAMPLING = {f"{NUMBER} num count number bs batch_size batchsize": "n={}",
            "seed random_seed manual_seed": "sample_seed={}",
            "ema use_ema averaged evaluation.average": "average={}"}  # fmt: skip
OF_COMMANDS: dict[str, dict[str, str]] = {
    "sample": {TO: "to={}", AT: "at={}", RUN: "run={}", **SAMPLING, "samples": "n={}",
               "class classes labels class_idx target_class y": "label={}",
               "trunc threshold truncation_factor truncation_threshold": "truncation={}",
               "standing_stats standing_statistics_passes num_accumulations": "standing_statistics={}",
               "interp interpolation interpolate_steps": "interpolate=8", "slerp": "interpolate=8 kind=spherical",
               "lerp": "interpolate=8 kind=linear", "traversal": "traverse={}"},
    "apply": {TO: "to={}", AT: "at={}", RUN: "run={}", "input images": "source={}",
              "ema use_ema averaged evaluation.average": "average={}", "seed random_seed": "sample_seed={}"},
    "evaluate": {TO: "to={}", AT: "at={}", RUN: "run={}", f"{NUMBER} n": "evaluation.n={}",
                 "ema use_ema averaged average": "evaluation.average={}"},
    "memorisation": {TO: "to={}", AT: "at={}", RUN: "run={}", **SAMPLING},
    "directions": {TO: "to={}", AT: "at={}", RUN: "run={}", "method": "kind={}", "components num_directions k": "n={}",
                   "class classes labels": "label={}", "seed random_seed": "sample_seed={}"},
    "fairness": {TO: "to={}", AT: "at={}", RUN: "run={}", **SAMPLING, "attribute group column": "by={}"},
    "export": {TO: "to={}", AT: "at={}", RUN: "run={}", "ema use_ema averaged evaluation.average": "average={}",
               "license": "licence={}", "format": "'formats=[{}]'"},
    "compare": {TO: "to={}", "run": "'runs=[{}]'", "metrics": "metric={}"},
    "replay": {"file path": "dump={}", "folder run_dir": "run={}"},
}  # fmt: skip

# images of the train split; data with a key `number` are not listed
IMAGES = {"digits": 897, "mnist": 50_000, "fashion_mnist": 50_000, "cifar10_jpeg": 40_000, "spoken_digits": 2_400}


def suggest_for_key(key: str, value: str, config: DictConfig, choice: Mapping[str, Any]) -> str | None:
    """Return the message for a key of another program with its value as text; None for an unknown key."""
    name = key.lower().replace("-", "_").strip("_")
    if is_training_length(name):
        advice = (
            _epochs_advice(_to_float(value), config, choice)
            if name in EPOCHS
            else _rounds_advice(name, _to_float(value), config)
        )
        return f"{key}={value}: training length is given in images: {advice}"
    if name in SENTENCES:
        return f"no such key: {key}; {SENTENCES[name]}"
    if name not in BY_KEY:
        return None
    overrides = BY_KEY[name].replace("{}", value)
    if overrides.startswith("data."):
        overrides = _data_key_advice(overrides, value, config)
    if (group := BY_KEY[name].strip("'").partition("=")[0]) in NAMES:
        return f"no such key: {key}. Here it is {_option_advice(group, value)}"
    return f"no such key: {key}. Here it is {overrides}"


def suggest_for_command(command: str, argument: str, keys: Collection[str]) -> str | None:
    """Return the message for an argument of another program to a command other than `train`; None if unknown."""
    key, _, value = argument.lstrip("+").partition("=")
    name = key.lower().replace("-", "_")
    matches = (overrides for names, overrides in OF_COMMANDS.get(command, {}).items() if name in names.split())
    if key in keys or (overrides := next(matches, None)) is None:
        return None
    if overrides == "at={}" and not (value.isdigit() or value in ("last", "best", "previous")):
        return f"{argument}: here it is at=last, at=best, or at=<images> of a snapshot, of a run=<folder>"
    return f"{argument}: here it is {overrides.replace('{}', value)}"


def _data_key_advice(overrides: str, value: str, config: DictConfig) -> str:
    """Return the overrides if these data have the key, else those for a folder of images."""
    data, name = config.get("data") or {}, overrides.removeprefix("data.").partition("=")[0]
    if name in data:
        return overrides
    if name == "root":
        return f"data.folder={value}" if "folder" in data else f"data=image_folder data.folder={value}"
    return f"{overrides} of data=image_folder; these data do not have this key"


def is_training_length(name: str) -> bool:
    """Whether a key of other programs sets the length of training."""
    return name in EPOCHS or name in ROUNDS


def _option_advice(group: str, name: str) -> str:
    names = catalogue.option_names(group)
    if (option := name if name in names else find_synonym(group, name)) is not None:
        return f"{group}={option}"
    return f"{group}=<name>, and there is no {name}: {', '.join(names)}"


def find_synonym(group: str, name: str) -> str | None:
    """Return the option here for a name in other programs, with further overrides; None if unknown."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((option for names, option in NAMES.get(group, {}).items() if key in names.split()), None)


def suggest_for_name(group: str, name: str) -> str:
    """Return " Here it is objective=least_squares.", "" for an unknown name."""
    return f" Here it is {group}={option}." if (option := find_synonym(group, name)) else ""


def suggest_for_value(key: str, value: Any) -> str | None:
    """Return the message for a value of other programs, such as device=gpu or cuda:1; None if unknown."""
    if key != "device" or not isinstance(value, str | int) or isinstance(value, bool):
        return None
    match = re.fullmatch(r"(?:cuda|gpu)?:?(\d+)", str(value).lower())
    if match:
        return (
            f"device={value}: device=cuda, and CUDA_VISIBLE_DEVICES={match[1]} in the environment selects it; device "
            "is one of auto, cpu, cuda, mps"
        )
    if str(value).lower() in ("gpu", "nvidia", "cuda", "tpu", "metal", "apple"):
        device = {"metal": "mps", "apple": "mps", "tpu": "auto"}.get(str(value).lower(), "cuda")
        return f"device={value}: here it is device={device}; device is one of auto, cpu, cuda, mps"
    return None


def _to_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _epochs_advice(number: float | None, config: DictConfig, choice: Mapping[str, Any]) -> str:
    name = choice.get("data")
    if (size := _train_size(config, name)) is None:
        return "images=<training images of these data, times the epochs>"
    advice = f"an epoch of {name} has {size:,} images"
    return advice if number is None else f"{advice}, so images={round(number * size):_}"


def _train_size(config: DictConfig, name: Any) -> int | None:
    """Return the number of training images of a config's data; None if it is unknown without reading them."""
    data = config.get("data") or {}
    if "number" in data:
        return int(data["number"])
    if name in IMAGES:
        return IMAGES[name] - int(data.get("reserved") or 0)
    from saddlepoint.data import facts, listing

    kind = facts.data_kind(str(data.get("_target_")))
    if not data.get("folder") or kind is None:
        return None
    number = facts.read_facts(kind, {**data, "shape": None})[1] or len(listing.list_files(data["folder"]).names)
    return number - sum(max(1, round(data[split] * number)) for split in ("validation", "test"))


def _rounds_advice(name: str, number: float | None, config: DictConfig) -> str:
    if number is None:
        return "images=300_000"
    if name == "kimg":
        return f"images={round(number * 1000):_}"
    return f"a round shows {config.batch} images, so images={round(number * config.batch):_}"
