from .models import ChandraClipConfig as ChandraClipConfig
from .models import ChandraClipModel as ChandraClipModel
from .models import ChandraClipProcessor as ChandraClipProcessor
from .models import EventCubeAutoencoderConfig as EventCubeAutoencoderConfig
from .models import EventCubeAutoencoderModel as EventCubeAutoencoderModel
from .models import EventCubeFeatureExtractor as EventCubeFeatureExtractor
from .models import EventFeatureExtractor as EventFeatureExtractor
from .models import EventTransformerConfig as EventTransformerConfig
from .models import EventTransformerModel as EventTransformerModel
from .models import FoldedSpectrumAutoencoderConfig as FoldedSpectrumAutoencoderConfig
from .models import FoldedSpectrumAutoencoderModel as FoldedSpectrumAutoencoderModel
from .models import FoldedSpectrumFeatureExtractor as FoldedSpectrumFeatureExtractor
from .models import SpectrumAutoencoderConfig as SpectrumAutoencoderConfig
from .models import SpectrumAutoencoderModel as SpectrumAutoencoderModel
from .models import SpectrumFeatureExtractor as SpectrumFeatureExtractor
from .models import SpectrumRecurrentAutoencoderConfig as SpectrumRecurrentAutoencoderConfig
from .models import SpectrumRecurrentAutoencoderModel as SpectrumRecurrentAutoencoderModel
from .models import SpectrumVaeConfig as SpectrumVaeConfig
from .models import SpectrumVaeModel as SpectrumVaeModel
from .models import UnfoldedSpectrumFeatureExtractor as UnfoldedSpectrumFeatureExtractor
from .observation import Observation as Observation
from .observation import open as open
from .observation.sample import sample as sample
from .registration import register_models as register_models
from .search import Catalog as Catalog

__version__: str
