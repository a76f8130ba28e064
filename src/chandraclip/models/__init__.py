"""Model families. Importing this package registers all of them with the Auto classes of transformers."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoProcessor

from chandraclip.models.axia_encoder.configuration_axia_encoder import AxiaEncoderConfig
from chandraclip.models.axia_encoder.feature_extraction_axia_encoder import AxiaFeatureExtractor
from chandraclip.models.axia_encoder.modeling_axia_encoder import AxiaEncoderModel, AxiaEncoderOutput
from chandraclip.models.chandraclip.configuration_chandraclip import ChandraClipConfig
from chandraclip.models.chandraclip.modeling_chandraclip import ChandraClipModel, ChandraClipOutput
from chandraclip.models.chandraclip.processing_chandraclip import ChandraClipProcessor
from chandraclip.models.chandraclip.text_tokenizer import small_text_config, train_tokenizer
from chandraclip.models.contract import FAMILIES, TowerModel, load_reconstructing, reconstructs, register_family
from chandraclip.models.event_cube_autoencoder.configuration_event_cube_autoencoder import EventCubeAutoencoderConfig
from chandraclip.models.event_cube_autoencoder.feature_extraction_event_cube_autoencoder import (
    EventCubeFeatureExtractor,
)
from chandraclip.models.event_cube_autoencoder.modeling_event_cube_autoencoder import (
    EventCubeAutoencoderModel,
    EventCubeAutoencoderOutput,
)
from chandraclip.models.event_transformer.configuration_event_transformer import EventTransformerConfig
from chandraclip.models.event_transformer.feature_extraction_event_transformer import EventFeatureExtractor
from chandraclip.models.event_transformer.modeling_event_transformer import (
    EventTransformerModel,
    EventTransformerOutput,
)
from chandraclip.models.folded_spectrum_autoencoder.configuration_folded_spectrum_autoencoder import (
    FoldedSpectrumAutoencoderConfig,
)
from chandraclip.models.folded_spectrum_autoencoder.feature_extraction_folded_spectrum_autoencoder import (
    FoldedSpectrumFeatureExtractor,
)
from chandraclip.models.folded_spectrum_autoencoder.modeling_folded_spectrum_autoencoder import (
    FoldedSpectrumAutoencoderModel,
    FoldedSpectrumAutoencoderOutput,
)
from chandraclip.models.ngram_text.configuration_ngram_text import NgramTextConfig
from chandraclip.models.ngram_text.modeling_ngram_text import NgramTextModel
from chandraclip.models.poisson_autodecoder.configuration_poisson_autodecoder import PoissonAutodecoderConfig
from chandraclip.models.poisson_autodecoder.feature_extraction_poisson_autodecoder import (
    PoissonAutodecoderFeatureExtractor,
)
from chandraclip.models.poisson_autodecoder.modeling_poisson_autodecoder import (
    PoissonAutodecoderModel,
    PoissonAutodecoderOutput,
)
from chandraclip.models.spectrum_autoencoder.configuration_spectrum_autoencoder import SpectrumAutoencoderConfig
from chandraclip.models.spectrum_autoencoder.feature_extraction_spectrum_autoencoder import SpectrumFeatureExtractor
from chandraclip.models.spectrum_autoencoder.modeling_spectrum_autoencoder import (
    SpectrumAutoencoderModel,
    SpectrumAutoencoderOutput,
)
from chandraclip.models.spectrum_recurrent_autoencoder.configuration_spectrum_recurrent_autoencoder import (
    SpectrumRecurrentAutoencoderConfig,
)
from chandraclip.models.spectrum_recurrent_autoencoder.modeling_spectrum_recurrent_autoencoder import (
    SpectrumRecurrentAutoencoderModel,
)
from chandraclip.models.spectrum_vae.configuration_spectrum_vae import SpectrumVaeConfig
from chandraclip.models.spectrum_vae.feature_extraction_spectrum_vae import UnfoldedSpectrumFeatureExtractor
from chandraclip.models.spectrum_vae.modeling_spectrum_vae import SpectrumVaeModel, SpectrumVaeOutput

register_family(SpectrumAutoencoderModel)
register_family(SpectrumRecurrentAutoencoderModel)
register_family(FoldedSpectrumAutoencoderModel)
register_family(SpectrumVaeModel)
register_family(EventTransformerModel)
register_family(PoissonAutodecoderModel)
register_family(EventCubeAutoencoderModel)
register_family(AxiaEncoderModel)
AutoConfig.register(NgramTextConfig.model_type, NgramTextConfig, exist_ok=True)
AutoModel.register(NgramTextConfig, NgramTextModel, exist_ok=True)
AutoConfig.register(ChandraClipConfig.model_type, ChandraClipConfig, exist_ok=True)
AutoModel.register(ChandraClipConfig, ChandraClipModel, exist_ok=True)
AutoProcessor.register(ChandraClipConfig, ChandraClipProcessor, exist_ok=True)

__all__ = [
    "FAMILIES",
    "AxiaEncoderConfig",
    "AxiaEncoderModel",
    "AxiaEncoderOutput",
    "AxiaFeatureExtractor",
    "ChandraClipConfig",
    "ChandraClipModel",
    "ChandraClipOutput",
    "ChandraClipProcessor",
    "EventCubeAutoencoderConfig",
    "EventCubeAutoencoderModel",
    "EventCubeAutoencoderOutput",
    "EventCubeFeatureExtractor",
    "EventFeatureExtractor",
    "EventTransformerConfig",
    "EventTransformerModel",
    "EventTransformerOutput",
    "FoldedSpectrumAutoencoderConfig",
    "FoldedSpectrumAutoencoderModel",
    "FoldedSpectrumAutoencoderOutput",
    "FoldedSpectrumFeatureExtractor",
    "NgramTextConfig",
    "NgramTextModel",
    "PoissonAutodecoderConfig",
    "PoissonAutodecoderFeatureExtractor",
    "PoissonAutodecoderModel",
    "PoissonAutodecoderOutput",
    "SpectrumAutoencoderConfig",
    "SpectrumAutoencoderModel",
    "SpectrumAutoencoderOutput",
    "SpectrumFeatureExtractor",
    "SpectrumRecurrentAutoencoderConfig",
    "SpectrumRecurrentAutoencoderModel",
    "SpectrumVaeConfig",
    "SpectrumVaeModel",
    "SpectrumVaeOutput",
    "TowerModel",
    "UnfoldedSpectrumFeatureExtractor",
    "load_reconstructing",
    "reconstructs",
    "register_family",
    "small_text_config",
    "train_tokenizer",
]
