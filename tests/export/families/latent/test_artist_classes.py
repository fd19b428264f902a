"""Artists of every class, with one look, in full precision against diffusers' own networks and loops."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import diffusers  # noqa: E402
import yaml  # noqa: E402
from diffusers import (  # noqa: E402
    AutoencoderKL,
    AutoencoderKLQwenImage,
    AutoencoderTiny,
    ControlNetModel,
    DreamLiteUNetModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
)
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from pocketcrafter.benchmarks.reference.cli import reference  # noqa: E402
from pocketcrafter.benchmarks.reference.libraries import Libraries  # noqa: E402
from pocketcrafter.export.families.latent.networks import TorchPair  # noqa: E402
from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.fidelity import psnr_db, sqnr_db  # noqa: E402
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture  # noqa: E402
from pocketcrafter.runtime.latent.sampler import Noise  # noqa: E402
from pocketcrafter.runtime.photo import Photo, decode, encode  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")

SIDE, WIDTH, WORDS = twin.SIDE, 16, 7
SDXL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 60}
Predict = Callable[..., Any]


def _autoencoder(channels: int = 4) -> Any:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        latent_channels=channels,
        norm_num_groups=4,
        scaling_factor=0.7,
        shift_factor=0.1,
    )


def _qwen_autoencoder() -> Any:
    return AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.1, 2.0],
    )  # fmt: skip


def _dreamlite() -> Any:
    return DreamLiteUNetModel(
        sample_size=SIDE // 8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"), block_out_channels=(16, 32),
        cross_attention_dim=WIDTH, attention_head_dim=8, addition_embed_type="time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16,
    )  # fmt: skip


def _sd3(channels: int) -> Any:
    return SD3Transformer2DModel(
        sample_size=SIDE // 8, patch_size=2, in_channels=channels, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=WIDTH, caption_projection_dim=16, pooled_projection_dim=12,
        out_channels=4, pos_embed_max_size=8, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip


def _qwen(**more: Any) -> Any:
    return QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, axes_dims_rope=(8, 4, 4), **more,
    )  # fmt: skip


def _unet(net: Any, latents: Any, time: Any, said: Any, _shown: Any, **more: Any) -> Any:
    sample = torch.cat([latents, *more.pop("beside", [])], 1)
    added = {"text_embeds": said["pooled"], "time_ids": torch.tensor([[SIDE, SIDE, 0.0, 0.0, SIDE, SIDE]])}
    return net(sample, time, encoder_hidden_states=said["text"], added_cond_kwargs=added, **more).sample


def _with_control(net: Any, latents: Any, time: Any, said: Any, shown: Any, control: Any, photo: Any) -> Any:
    down, middle = control(latents, time, encoder_hidden_states=said["text"], controlnet_cond=photo, return_dict=False)
    steered = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    return _unet(net, latents, time, said, shown, **steered)


def _diptych(net: Any, latents: Any, time: Any, said: Any, shown: Any) -> Any:
    added = {"time_ids": torch.tensor([[float(SIDE), float(SIDE)]])}
    mask = torch.ones(said["text"].shape[:2])
    made = net(
        torch.cat([latents, shown], 3), time.expand(1), encoder_hidden_states=said["text"],
        encoder_attention_mask=mask, added_cond_kwargs=added,
    ).sample  # fmt: skip
    return made[..., : latents.shape[-1]]


def _joint(net: Any, latents: Any, time: Any, said: Any, shown: Any) -> Any:
    sample = latents if net.config.in_channels == 4 else torch.cat([latents, shown], 1)
    return net(sample, said["text"], said["pooled"], time.expand(1)).sample


def _packed(x: Any) -> Any:
    from diffusers import QwenImageEditPipeline  # noqa: PLC0415 - slow to import

    return QwenImageEditPipeline._pack_latents(x, 1, x.shape[1], *x.shape[-2:])


def _tokens(net: Any, latents: Any, time: Any, said: Any, shown: Any) -> Any:
    from diffusers import QwenImageEditPipeline  # noqa: PLC0415 - likewise

    both = [latents] if shown is None else [latents, shown]
    side = latents.shape[-1] // 2
    made = net(
        torch.cat([_packed(x) for x in both], 1), said["text"], torch.ones(1, WORDS), time.expand(1) / 1000,
        img_shapes=[[(1, side, side)] * len(both)],
    ).sample[:, : side**2]  # fmt: skip
    return QwenImageEditPipeline._unpack_latents(made, SIDE, SIDE, 8)[:, :, 0]


@contextmanager
def _latents(vae: Any) -> Iterator[tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]]:
    """Yield what encodes a picture, scales its latents, and decodes scaled ones, as pipelines do."""
    config = vae.config
    with torch.no_grad():
        if isinstance(vae, AutoencoderTiny):
            yield lambda image: vae.encode(image).latents, lambda raw: raw, lambda latents: vae.decode(latents).sample
        elif isinstance(vae, AutoencoderKL):
            yield (
                lambda image: vae.encode(image).latent_dist.mode(),
                lambda raw: (raw - config.shift_factor) * config.scaling_factor,
                lambda latents: vae.decode(latents / config.scaling_factor + config.shift_factor).sample,
            )
        else:
            mean, std = (torch.tensor(config[f"latents_{name}"]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
            yield (
                lambda image: vae.encode(image[:, :, None]).latent_dist.mode()[:, :, 0],
                lambda raw: (raw - mean) / std,
                lambda latents: vae.decode((latents * std + mean)[:, :, None]).sample[:, :, 0],
            )


def _flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)


CASES: dict[str, dict[str, Any]] = {
    "unet": {
        "network": lambda: twin.unet(4, WIDTH), "predict": _unet, "begins": True,
        "scheduler": lambda: diffusers.DDIMScheduler(clip_sample=False),
    },
    "inpainting": {
        "network": lambda: twin.unet(9, WIDTH), "predict": _unet, "begins": True, "covers": True,
        "scheduler": diffusers.EulerDiscreteScheduler,
    },
    "inpainting what is seen": {
        "network": lambda: twin.unet(9, WIDTH), "predict": _unet, "begins": True, "covers": False,
        "config": {"mask": 0.25},
    },
    "sdxl": {"network": lambda: twin.unet(4, WIDTH, **SDXL), "predict": _unet, "begins": True, "pooled": 12},
    "controlnet": {
        "network": lambda: twin.unet(4, WIDTH), "predict": _with_control, "control": True,
        "scheduler": diffusers.LCMScheduler,
    },
    "dreamlite": {"network": _dreamlite, "predict": _diptych, "pipeline": "DreamLiteMobilePipeline", "unscaled": True},
    "sd3": {"network": lambda: _sd3(4), "predict": _joint, "begins": True, "pooled": 12},
    "sd3 with the photo": {"network": lambda: _sd3(8), "predict": _joint, "pooled": 12},
    "qwen-image": {"network": _qwen, "predict": _tokens, "vae": _qwen_autoencoder, "begins": True, "blind": True},
    "qwen-image-edit": {
        "network": lambda: _qwen(zero_cond_t=True), "predict": _tokens, "vae": _qwen_autoencoder,
        "pipeline": "QwenImageEditPlusPipeline",
    },
}  # fmt: skip


def save_case(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Write an artist alone, and return its networks."""
    torch.manual_seed(3)
    made: dict[str, Any] = {"network": case["network"]().eval(), "vae": case.get("vae", _autoencoder)().eval()}
    for parameter in made["network"].parameters():  # some are initialized to zero
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.05)
    beside = {}
    if case.get("control"):
        control = ControlNetModel.from_unet(made["network"], conditioning_embedding_out_channels=(8, 8, 8, 8)).eval()
        for parameter in control.parameters():
            if not parameter.abs().sum():
                torch.nn.init.normal_(parameter, std=0.05)
        made["control"] = beside["controlnet"] = control
    scheduler = case.get("scheduler", _flow)()
    pipeline = case.get("pipeline", "DreamPipeline")
    twin.save_artist(folder / "artist", made["network"], made["vae"], scheduler, pipeline, **beside)
    said = {"prompt_embeds": torch.randn(WORDS, WIDTH)}
    if case.get("pooled"):
        said["pooled_prompt_embeds"] = torch.randn(case["pooled"])
    save_file(said, folder / "prompt.safetensors")
    (folder / "pair.yaml").write_text(yaml.safe_dump({"seed": 9, "side": SIDE, **case.get("config", {})}))
    pooled = said.get("pooled_prompt_embeds")
    return {**made, "text": said["prompt_embeds"][None], "pooled": None if pooled is None else pooled[None]}


@contextmanager
def _fresh(scheduler: Any, drawn: Noise) -> Iterator[None]:
    """Let a scheduler that adds noise add a bundle's."""
    with pytest.MonkeyPatch.context() as patch:
        module, named = importlib.import_module(type(scheduler).__module__), "randn_tensor"
        patch.setattr(module, named, lambda shape, **_: torch.from_numpy(drawn.draw(shape)), raising=False)
        yield


def expected_picture(case: dict[str, Any], made: dict[str, Any], picture: Any) -> Any:
    """Return what diffusers' own networks and scheduler make of a picture ``(1, 3, H, W)`` in [-1, 1]."""
    scheduler, drawn = case.get("scheduler", _flow)(), Noise(9)
    scheduler.set_timesteps(4)
    with _latents(made["vae"]) as (encode, scale, decode):
        raw = encode(picture)
        noise = torch.from_numpy(drawn.draw(raw.shape))
        times = scheduler.timesteps[2:] if case.get("begins") else scheduler.timesteps
        if not case.get("begins"):
            latents = noise * getattr(scheduler, "init_noise_sigma", 1.0)
        elif hasattr(scheduler, "scale_noise"):
            latents = scheduler.scale_noise(scale(raw), times[:1], noise)
        else:
            latents = scheduler.add_noise(scale(raw), noise, times[:1])
        shown = raw if case.get("unscaled") else scale(raw)
        more: dict[str, Any] = {}
        if "covers" in case:
            mask = case.get("config", {}).get("mask", 1.0)
            masked = scale(encode(torch.zeros_like(picture))) if case["covers"] else scale(raw)
            more["beside"] = [torch.full_like(raw[:, :1], mask), masked]
        if case.get("control"):
            more |= {"control": made["control"], "photo": picture / 2 + 0.5}
        shown = None if case.get("blind") else shown
        for time in times:
            given = scheduler.scale_model_input(latents, time) if hasattr(scheduler, "scale_model_input") else latents
            prediction = case["predict"](made["network"], given, time, made, shown, **more)
            with _fresh(scheduler, drawn):
                latents = scheduler.step(prediction, time, latents).prev_sample
        return (decode(latents)[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy()


def unedited_picture(made: dict[str, Any], picture: Any) -> Any:
    """Return what the autoencoder alone makes of a picture ``(1, 3, H, W)`` in [-1, 1]."""
    with _latents(made["vae"]) as (encode, scale, decode):
        return (decode(scale(encode(picture)))[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy()


@pytest.mark.parametrize("name", CASES)
def test_picture_is_diffusers(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    made = save_case(tmp_path, case)
    artist = TorchPair(read_pair(tmp_path)).artist
    assert artist is not None
    picture = np.random.default_rng(2).random((SIDE, SIDE, 3), np.float32)
    expected = expected_picture(case, made, torch.from_numpy(picture.transpose(2, 0, 1)[None] * 2 - 1))
    assert expected.std() > 0.01, "a picture of one color proves nothing"
    assert psnr_db(expected, artist.edit(picture), 1.0) > 60


def add_case(folder: Path, case: dict[str, Any], **config: Any) -> None:
    """Write an artist beside a critic of 32 channels, and the bridge between them."""
    save_case(folder, case)
    (folder / "prompt.safetensors").unlink()
    maps = {"projection": WIDTH, **({"pooled": case["pooled"]} if case.get("pooled") else {})}
    weights = {f"{name}.weight": torch.randn(width, 32) / 6 for name, width in maps.items()}
    save_file({**weights, "projection.bias": torch.randn(WIDTH)}, folder / "bridge.safetensors")
    said = yaml.safe_load((folder / "pair.yaml").read_text())
    (folder / "pair.yaml").write_text(yaml.safe_dump({**said, **config}))


@pytest.mark.parametrize("name", CASES)
def test_a_record_of_every_class_is_what_a_bundle_does(name: str, pair: Path, tmp_path: Path) -> None:
    """By the class's row of `PREDICTIONS`, its conditions from a critic and a bridge."""
    twin.copied(pair / "critic", tmp_path / "critic")
    add_case(tmp_path, CASES[name], longest_answer=4)
    pixels = np.random.default_rng(4).integers(0, 256, (90, 70, 3), np.uint8)
    recorded = Libraries(read_pair(tmp_path), "cpu").record(Image.fromarray(pixels))
    assert recorded.artist is not None
    artist = TorchPair(read_pair(tmp_path)).artist
    assert artist is not None
    assert len(recorded.artist.predictions) == len(artist.settings.steps)
    made = artist.edit(artists_picture(Photo(pixels), SIDE), recorded.critic.hidden)
    assert recorded.artist.picture.std() > 0.01
    assert psnr_db(recorded.artist.picture, made, 1.0) > 60


def _kohya(folder: Path, module: str) -> Any:
    """Write an adapter of one layer with an alpha of its own; return what it adds."""
    down, up = torch.randn(2, WIDTH), torch.randn(16, 2)
    key = f"lora_unet_{module.replace('.', '_')}"
    tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.5)}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "look.safetensors")
    return 1.5 / 2 * up @ down


def test_an_adapter_beside_the_artist_is_merged(tmp_path: Path) -> None:
    case, module = CASES["unet"], "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    made = save_case(tmp_path, case)
    torch.manual_seed(4)
    with torch.no_grad():
        made["network"].get_parameter(f"{module}.weight").add_(_kohya(tmp_path / "artist/lora", module))
    artist = TorchPair(read_pair(tmp_path)).artist
    assert artist is not None
    picture = np.random.default_rng(2).random((SIDE, SIDE, 3), np.float32)
    expected = expected_picture(case, made, torch.from_numpy(picture.transpose(2, 0, 1)[None] * 2 - 1))
    assert psnr_db(expected, artist.edit(picture), 1.0) > 60


def test_a_record_runs_adapters_beside_the_weights(pair: Path, tmp_path: Path) -> None:
    """Of critic and artist: the libraries add what adapters give, where a bundle has them merged."""
    plain, folder = (twin.copied(pair, tmp_path / name) for name in ("plain", "adapted"))
    torch.manual_seed(4)
    _kohya(folder / "artist/lora", "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k")
    key = "base_model.model.model.text_model.layers.1.self_attn.q_proj"
    tensors = {f"{key}.lora_A.weight": torch.randn(2, 32), f"{key}.lora_B.weight": torch.randn(32, 2)}
    (folder / "critic/lora").mkdir()
    save_file(tensors, folder / "critic/lora/adapter_model.safetensors")
    (folder / "critic/lora/adapter_config.json").write_text('{"r": 2, "lora_alpha": 3, "peft_type": "LORA"}')
    image = Image.fromarray(np.random.default_rng(4).integers(0, 256, (90, 70, 3), np.uint8))
    without, recorded = (Libraries(read_pair(of), "cpu").record(image) for of in (plain, folder))
    merged = TorchPair(read_pair(folder))
    assert merged.artist is not None
    assert merged.critic is not None
    assert merged.settings.critic is not None
    seen = critics_picture(Photo(np.asarray(image)), merged.settings.critic.picture)
    answer = merged.critic.follow(seen, recorded.critic.ids.tolist())
    assert sqnr_db(recorded.critic.hidden, answer.hidden) > 80
    length = recorded.critic.prompt.size
    assert sqnr_db(without.critic.hidden[:length], answer.hidden[:length]) < 20
    made = merged.artist.edit(artists_picture(Photo(np.asarray(image)), SIDE), recorded.critic.hidden)
    assert recorded.artist is not None
    assert psnr_db(recorded.artist.picture, made, 1.0) > 60


def test_an_adapter_of_another_network_is_told_from_the_folder(tmp_path: Path) -> None:
    save_case(tmp_path, CASES["unet"])
    _kohya(tmp_path / "artist/lora", "input_blocks.4.1.transformer_blocks.0.attn2.to_k")
    with pytest.raises(CheckpointError, match=r"lora_unet_input_blocks_4_1_.*: the network has no such layer"):
        read_pair(tmp_path)


BUILT = ("unet", "inpainting", "sdxl", "controlnet", "dreamlite", "sd3 with the photo", "qwen-image-edit")


@pytest.mark.parametrize("name", BUILT)
def test_folder_becomes_bundle_becomes_photo(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, folder, bundle = CASES[name], tmp_path / "pair", tmp_path / "pair.pcbundle"
    made = save_case(folder, case)
    pixels = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    encode(Photo(pixels), photo)
    asked = ["build", str(folder), "--target", "onnx", "--out", str(bundle), "--stages", str(tmp_path / "stages")]
    assert cli.run(asked) == 0
    assert cli.run(["enhance", str(photo), "--bundle", str(bundle), "-o", str(out)]) == 0
    picture = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255 * 2 - 1)
    changed = expected_picture(case, made, picture) - unedited_picture(made, picture)
    assert np.abs(changed).mean() > 0.05
    assert np.abs(np.clip(pixels + 255 * changed, 0, 255) - decode(out).pixels).max() <= 1
    record = tmp_path / "artist.pcref"
    asked = ["record", str(folder), "--photos", str(photo), "--out", str(record)]
    reference.main(asked, standalone_mode=False)
    capsys.readouterr()
    assert cli.run(["bench", "parity", str(bundle), "--reference", str(record), "--no-store", "--json"]) == 0
    (held,) = json.loads(capsys.readouterr().out)["targets"]
    assert held["rung"]["passed"] is True
    (one,) = held["reference"]
    assert one["psnr_db"] > 60
    steps = 2 if case.get("begins") else 4
    assert [call["component"] for call in one["calls"]] == ["encode", *["denoise"] * steps, "decode"]
    assert min(call["sqnr_db"] for call in one["calls"]) > 60
    assert cli.run(["critique", str(photo), "--bundle", str(bundle)]) == 2
    assert "has an artist alone" in capsys.readouterr().err


def test_an_artist_alone_needs_its_prompt(tmp_path: Path) -> None:
    save_case(tmp_path, CASES["sdxl"])
    (tmp_path / "prompt.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"needs `prompt_embeds` \[positions, 16\] there, and .*\[12\]"):
        read_pair(tmp_path)


def test_a_prompt_of_another_width_is_refused(tmp_path: Path) -> None:
    save_case(tmp_path, CASES["unet"])
    save_file({"prompt_embeds": torch.zeros(7, 15)}, tmp_path / "prompt.safetensors")
    with pytest.raises(CheckpointError, match=r"holds .*\(7, 15\).*reads `prompt_embeds` \[positions, 16\]"):
        read_pair(tmp_path)
