"""Perception Encoder Audio in small: transformers' own model with random weights, its extractor and a tokenizer."""

from pathlib import Path

import torch
import transformers

WORDS = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "this",
    "is",
    "the",
    "sound",
    "of",
    "a",
    "dog",
    "rain",
    "and",
    "siren",
]
TEXT = {
    "model_type": "modernbert", "vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 40, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2,
}  # fmt: skip
AUDIO = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 5, "num_attention_heads": 2, "head_dim": 16,
    "dac_config": {
        "model_type": "dac", "encoder_hidden_size": 4, "downsampling_ratios": [2, 8, 10, 12], "codebook_dim": 8,
        "hidden_size": 24,
    },
}  # fmt: skip


def tokenizer():
    """Whole words, with marks at both ends."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    table = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.Whitespace()
    table.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=table, model_max_length=40, **marks)


def save_pe_audio(folder: Path, form: str = "PeAudioModel", shard: str = "5GB") -> Path:
    """Write a model whose logits differ from sound to sound.

    Args:
        folder: made.
        form: class of transformers.
        shard: size of a file of weights at most.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, form)(transformers.PeAudioConfig(text_config=TEXT, audio_config=AUDIO))
        with torch.no_grad():
            for name, value in model.named_parameters():
                if value.ndim >= 2 and "embedding" not in name:
                    # What comes from the codec outweighs what the transformer adds, so that sounds differ.
                    gain = 30.0 if "data_proj" in name else 1.5 if "dac_encoder" in name else 1.0
                    value.normal_(std=gain * value[0].numel() ** -0.5)
            model.text_audio_logit_scale.fill_(0.4)
            model.text_audio_logit_bias.fill_(-1.5)
    model.eval().save_pretrained(folder, max_shard_size=shard)
    transformers.PeAudioFeatureExtractor().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
