"""Tiny models of every audio classifier in transformers, with random weights, and their feature extractors."""

import torch
import transformers

LABELS = {0: "dog bark", 1: "rain, light", 2: "siren"}
SMALL = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
WAVE = {
    **SMALL,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 16,
}
OF_CLASS = {
    "data2vec-audio": ("Data2VecAudio", {"conv_pos_kernel_size": 9}),
    "hubert": ("Hubert", {}),
    "sew": ("SEW", {}),
    "sew-d": ("SEWD", {}),
    "unispeech": ("UniSpeech", {}),
    "unispeech-sat": ("UniSpeechSat", {}),
    "wav2vec2": ("Wav2Vec2", {}),
    "wav2vec2-conformer": ("Wav2Vec2Conformer", {}),
    "wavlm": ("WavLM", {}),
}
SQUEEZED = {
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "squeeze_factor": 2,
}
KINDS = ("audio-spectrogram-transformer", *OF_CLASS, "wav2vec2-bert", "whisper")


def tiny(kind, labels=LABELS, **settings):
    """A model and its feature extractor; the weights are large enough for logits that differ.

    Args:
        kind: `model_type` of transformers, one of KINDS.
        labels: of the model, by number.
        **settings: of its configuration.
    """
    names = {"id2label": labels, "label2id": {label: number for number, label in labels.items()}}
    if kind == "audio-spectrogram-transformer":
        shape = {**SMALL, "max_length": 128, "num_mel_bins": 32}
        config = transformers.ASTConfig(**shape, **names, **settings)
        extractor = transformers.ASTFeatureExtractor(max_length=128, num_mel_bins=32)
        model = transformers.ASTForAudioClassification(config)
    elif kind == "whisper":
        shape = {
            "d_model": 24, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
            "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "num_mel_bins": 20,
            "max_source_positions": 100, "classifier_proj_size": 16,
        }  # fmt: skip
        config = transformers.WhisperConfig(**shape, **names, **settings)
        extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
        model = transformers.WhisperForAudioClassification(config)
    elif kind == "wav2vec2-bert":
        shape = {**SMALL, "feature_projection_input_dim": 40, "classifier_proj_size": 16}
        config = transformers.Wav2Vec2BertConfig(**shape, **names, **settings)
        extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=20, num_mel_bins=20, stride=2)
        model = transformers.Wav2Vec2BertForSequenceClassification(config)
    else:
        name, more = OF_CLASS[kind]
        squeezed = SQUEEZED if kind.startswith("sew") else {}
        config = getattr(transformers, f"{name}Config")(**WAVE, **more, **squeezed, **names, **settings)
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
        model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    return model.eval(), extractor


def save(folder, kind, seed=0, **settings):
    """Write a tiny model as a classifier's folder; returns the model and its extractor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, extractor = tiny(kind, **settings)
        with torch.no_grad():
            # As they start, logits are almost 0.
            head = getattr(model, "classifier", None)
            head = getattr(head, "dense", head)
            head.weight.mul_(40)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model, extractor
