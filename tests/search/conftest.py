from catalog_files import made  # noqa: F401, a fixture
