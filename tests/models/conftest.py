import pytest
import torch

import dfer_hf

SYSTEMS = dfer_hf.systems()


@torch.no_grad()
def answer(model, clips, **kwargs):
    return model(pixel_values_videos=clips, **kwargs)


def with_random_statistics(model, *, spread=0.05):
    """Give every parameter and buffer a value of its own: what a fresh model shares with any other proves nothing."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * spread)
        else:
            tensor.fill_(3)
    return model


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    # The models are too small to share.
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config():
    """Build the `tiny` preset of a system, with fields of the test's own."""

    def build(system, **fields):
        return SYSTEMS[system].config_class.from_preset("tiny", **fields)

    return build


@pytest.fixture(scope="session")
def tiny_model(tiny_config):
    def build(system, **fields):
        torch.manual_seed(0)
        return SYSTEMS[system](tiny_config(system, **fields)).eval()

    return build


@pytest.fixture(scope="session")
def random_clips():
    def draw(config, count=2, *, seed=1):
        generator = torch.Generator().manual_seed(seed)
        shape = (count, config.num_frames, config.num_channels, config.image_size, config.image_size)
        return torch.randn(shape, generator=generator)

    return draw


@pytest.fixture(params=list(SYSTEMS))
def system(request):
    return request.param


@pytest.fixture
def config(system, tiny_config):
    return tiny_config(system)


@pytest.fixture
def model(system, tiny_model):
    return tiny_model(system)


@pytest.fixture
def clips(config, random_clips):
    return random_clips(config)
