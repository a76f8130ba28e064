"""Model families. Importing this package registers all of them with the Auto classes of transformers."""

from __future__ import annotations

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor

from chandraclip.models.chandraclip.configuration_chandraclip import ChandraClipConfig
from chandraclip.models.chandraclip.modeling_chandraclip import ChandraClipModel, ChandraClipOutput
from chandraclip.models.chandraclip.processing_chandraclip import ChandraClipProcessor
from chandraclip.models.chandraclip.text_tokenizer import small_text_config, train_tokenizer
from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.event_transformer.feature_extraction_event_transformer import EventFeatureExtractor
from chandraclip.models.event_transformer.modeling_event_transformer import (
    EventTransformerModel,
    EventTransformerOutput,
)
from chandraclip.models.spectrum_autoencoder.configuration_spectrum_autoencoder import SpectrumAutoencoderConfig
from chandraclip.models.spectrum_autoencoder.feature_extraction_spectrum_autoencoder import SpectrumFeatureExtractor
from chandraclip.models.spectrum_autoencoder.modeling_spectrum_autoencoder import (
    SpectrumAutoencoderModel,
    SpectrumAutoencoderOutput,
)

for _config, _model in (
    (SpectrumAutoencoderConfig, SpectrumAutoencoderModel),
    (EventTransformerConfig, EventTransformerModel),
    (ChandraClipConfig, ChandraClipModel),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
AutoFeatureExtractor.register(SpectrumAutoencoderConfig, SpectrumFeatureExtractor, exist_ok=True)
AutoFeatureExtractor.register(EventTransformerConfig, EventFeatureExtractor, exist_ok=True)
AutoProcessor.register(ChandraClipConfig, ChandraClipProcessor, exist_ok=True)

__all__ = [
    "ChandraClipConfig",
    "ChandraClipModel",
    "ChandraClipOutput",
    "ChandraClipProcessor",
    "EventFeatureExtractor",
    "EventTransformerConfig",
    "EventTransformerModel",
    "EventTransformerOutput",
    "SpectrumAutoencoderConfig",
    "SpectrumAutoencoderModel",
    "SpectrumAutoencoderOutput",
    "SpectrumFeatureExtractor",
    "small_text_config",
    "train_tokenizer",
]
