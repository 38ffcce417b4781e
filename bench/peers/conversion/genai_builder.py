"""onnxruntime-genai's model builder, with the transformers that optimum pins: the same arguments.

The builder imports the classes of all architectures that it knows. Those newer than this transformers
have none there, and are of no use to the checkpoints of this benchmark.
"""

import runpy

import transformers

_NEWER = ("Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration")


def main() -> None:
    """Run the builder as `python -m` does."""
    for name in _NEWER:
        if not hasattr(transformers, name):
            setattr(transformers, name, None)
    runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
