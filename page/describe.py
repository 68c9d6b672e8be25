"""The description of the endpoints: every argument and every result in words."""

from collections.abc import Callable
from typing import Any

from gradio.utils import get_function_description

from .guards import ClosedBlocks


class DescribedBlocks(ClosedBlocks):
    """Blocks whose endpoints are described by the docstrings of what answers, of which Gradio shows the first part."""

    def get_api_info(self, *arguments: Any, **options: Any) -> Any:
        """Gradio's description, with words for arguments and results."""
        info = super().get_api_info(*arguments, **options)
        for function in self.fns.values():
            endpoint = info["named_endpoints"].get(f"/{function.api_name}")
            if endpoint is not None and function.fn is not None:
                _describe(endpoint, function.fn)
        return info


def _describe(endpoint: Any, answers: Callable[..., Any]) -> None:
    _, arguments, results = get_function_description(answers)
    for parameter in endpoint["parameters"]:
        parameter["python_type"]["description"] = arguments.get(parameter["parameter_name"], "")
    # A line for each, as in `note: what was found`; one alone may be a sentence.
    for returned, line in zip(endpoint["returns"], results, strict=False):
        returned["python_type"]["description"] = line.partition(": ")[2] or line
