from tests.postgres import own_server

__all__ = ["own_server"]
