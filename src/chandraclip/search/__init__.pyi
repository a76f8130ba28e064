from .catalog import Catalog as Catalog
from .query_model import QueryModel as QueryModel
