"""Train a system by a recipe.

    accelerate launch -m training.train training/recipes/aen_dfew.toml --data-root <DFEW> --fold 1 \
        --prepared <cache> --output runs/aen_dfew_1

A run that was stopped resumes after its last complete epoch when it is started again with the same `--output`.
"""

from training.arguments import run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("train"))

import argparse
import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, set_seed
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from transformers import PreTrainedConfig

from dfer_hf.models.modeling_dfer import DferPreTrainedModel, use_channels_last
from training.config import TrainConfig, build_config, load_config
from training.data.batches import EpochBatches, load_in_workers
from training.data.samplers import epoch_indices, epoch_length
from training.data.sources import Data, build_data
from training.engine.guards import check_loss, check_precision
from training.engine.lr_schedules import learning_rate_factor
from training.engine.optim import build_optimiser
from training.engine.pretrained import build_model, write_report
from training.engine.provenance import run_settings, write_clips
from training.engine.run_card import write_repository
from training.engine.run_folder import Row, RunFolder
from training.engine.trackers import build_trackers, tracking
from training.engine.trainable import freeze_parameters, freeze_statistics, merge_adapters
from training.evaluation.metrics import Confusion
from training.evaluation.predict import predict
from training.systems.aen_guide import fit_guide
from training.systems.head_start import give_head_start


def train(
    config: TrainConfig,
    data_root: Path,
    output: Path,
    *,
    fold: int | None = None,
    prepared_root: Path | None = None,
    num_workers: int = 0,
) -> None:
    """Build data, model and optimiser; train, measure and save epoch by epoch; write a folder ready for the Hub."""
    run, settled = RunFolder(output), dataclasses.asdict(config)
    accelerator = Accelerator(
        gradient_accumulation_steps=config.accumulation,
        log_with=build_trackers(config.trackers, run) or None,
        # The other processes wait for the head start of the first.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=1))],
    )
    data = build_data(config, data_root, fold=fold, prepared_root=prepared_root)
    settings = {**run_settings(data, settled), "num_processes": accelerator.num_processes}
    is_main = accelerator.is_main_process
    with (
        run.opened(config, settings, num_epochs=config.num_epochs, is_main_process=is_main),
        tracking(accelerator, run, settled),
    ):
        set_seed(config.seed)
        model, taken = build_model(config, data.label_names, data.processor)
        check_precision(model, accelerator)
        # Wrong names are refused now, not after an epoch.
        for fields in config.also_measured.values():
            check_fields(model.config, fields)
        use_channels_last(model)
        # `accelerator.prepare` copies the weights of this process to all others.
        if accelerator.is_main_process and run.is_new:
            write_clips(run, data, config)
            write_report(taken, run.initialisation_file)
            give_head_start(model, data.training, config, accelerator)
            fit_guide(model, data.training, taken, config.stage(0)[0])
        for part in (data, *taken):
            accelerator.print(part)
        freeze_parameters(model, config)
        if config.compile:
            model.compile()

        steps_per_epoch = -(-epoch_length(data.training.labels, config) // config.batch_size)
        optimiser = build_optimiser(model, config)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: learning_rate_factor(
                config.schedule, step, num_epochs=config.num_epochs, steps_per_epoch=steps_per_epoch
            ),
        )
        model, optimiser = accelerator.prepare(model, optimiser)
        unwrapped = cast(DferPreTrainedModel, accelerator.unwrap_model(model))
        # With a decay of 0 the average is the weights themselves.
        average = AveragedModel(unwrapped, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        averaged = cast(DferPreTrainedModel, average.module)
        accelerator.register_for_checkpointing(scheduler, average)
        if run.is_new:
            set_seed(config.seed, device_specific=True)  # dropout differs between processes
        elif run.progress.epochs_done < config.num_epochs:
            run.load_state(accelerator)

        for epoch in range(run.progress.epochs_done, config.num_epochs):
            started, learning_rate = time.perf_counter(), float(max(scheduler.get_last_lr()))
            image_size, strength = config.stage(epoch)
            unwrapped.config.image_size = averaged.config.image_size = image_size
            if epoch and image_size != config.stage(epoch - 1)[0]:
                # Weights and batch statistics of another picture size would only blur the average.
                average.n_averaged.zero_()
            order = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
            batches = EpochBatches(
                data.training,
                epoch_indices(data.training.labels, data.training.sampling_weights, config, order),
                batch_size=config.batch_size,
                accumulation=config.accumulation,
                image_size=image_size,
                strength=strength,
                seed=config.seed * 100_003 + epoch,
                process_index=accelerator.process_index,
                num_processes=accelerator.num_processes,
            )
            model.train()
            freeze_statistics(model)
            total_loss = torch.zeros((), device=accelerator.device)
            seconds_waited, waiting_since = 0.0, time.perf_counter()
            bar = tqdm(
                load_in_workers(batches, num_workers),
                desc=f"epoch {epoch}",
                disable=None if accelerator.is_main_process else True,
            )
            for batch in bar:
                seconds_waited += time.perf_counter() - waiting_since
                batch = {name: value.to(accelerator.device, non_blocking=True) for name, value in batch.items()}
                with accelerator.accumulate(model):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    if config.gradient_clip and accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(model.parameters(), config.gradient_clip)
                    optimiser.step()
                    optimiser.zero_grad()
                if accelerator.sync_gradients:
                    scheduler.step()
                    average.update_parameters(unwrapped)
                total_loss += loss.detach()
                waiting_since = time.perf_counter()
            seconds = time.perf_counter() - started
            row: Row = {
                "epoch": epoch,
                "image_size": image_size,
                "learning_rate": learning_rate,
                "loss": float(cast(torch.Tensor, accelerator.reduce(total_loss, "mean"))) / len(batches),
                "seconds": seconds,
                "loader_share": seconds_waited / seconds,
                "clips_per_second": batches.indices.numel() * accelerator.num_processes / seconds,
            }
            check_loss(row["loss"], epoch)
            row |= measure(averaged, data, image_size, accelerator, num_workers)
            for name, fields in config.also_measured.items():
                with changed_fields(averaged.config, fields):
                    again = measure(averaged, data, image_size, accelerator, num_workers)
                row |= {f"{figure}_{name}": value for figure, value in again.items()}
            is_best = config.select == "last" or all(
                row[config.select_by] > before[config.select_by] for before in run.progress.rows
            )
            accelerator.log(row, step=epoch)
            if accelerator.is_main_process:
                tqdm.write(" ".join(f"{key} {value:.4g}" for key, value in row.items()))
                if is_best:
                    data.processor.size = {"height": image_size, "width": image_size}
                    run.save_checkpoint(merge_adapters(averaged), data.processor)
            run.save_state(accelerator, row, is_best=is_best)

        if accelerator.is_main_process:
            write_repository(run)
        accelerator.wait_for_everyone()


def measure(
    model: DferPreTrainedModel, data: Data, image_size: int, accelerator: Accelerator, num_workers: int
) -> dict[str, float]:
    """Measure WAR, UAR and F1 on the part that chooses the epoch, where there is one."""
    if data.validation is None:
        return {}
    predictions = predict(
        model, data.validation, batch_size=64, image_size=image_size, accelerator=accelerator, num_workers=num_workers
    )
    confusion = Confusion.of(predictions.predicted, predictions.labels, predictions.label_names)
    return {"war": confusion.war, "uar": confusion.uar, "f1": confusion.macro_f1}


def check_fields(config: PreTrainedConfig, fields: Mapping[str, Any]) -> None:
    """Refuse fields that a configuration does not have.

    Raises:
        ValueError: If it lacks one.
    """
    unknown = [name for name in fields if not hasattr(config, name)]
    if unknown:
        raise ValueError(f"Expected fields of {type(config).__name__} in `also_measured`, got {', '.join(unknown)}.")


@contextmanager
def changed_fields(config: PreTrainedConfig, fields: Mapping[str, Any]) -> Iterator[None]:
    """Change fields of a configuration while the context lasts."""
    before = {name: getattr(config, name) for name in fields}
    for name, value in fields.items():
        setattr(config, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def main(arguments: argparse.Namespace) -> int:
    """Run the training that the command line asks for."""
    config = load_config(arguments.recipe, arguments.settings)
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    if arguments.compile:
        config = dataclasses.replace(config, compile=True)
    if arguments.select_on_test:
        config = dataclasses.replace(config, select="test")
    if arguments.trackers is not None:
        config = build_config(TrainConfig, dataclasses.asdict(config) | {"trackers": arguments.trackers}, "--trackers")
    train(
        config,
        arguments.data_root,
        arguments.output,
        fold=arguments.fold,
        prepared_root=arguments.prepared,
        num_workers=arguments.workers,
    )
    return 0
