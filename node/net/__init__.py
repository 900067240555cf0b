"""Associations with peers; the only package that imports pynetdicom.

pynetdicom's switches hold for the whole process, so they are set here, before any association: no
identifiers in its logs, no logging of each message, and files sent as the bytes that they are.
"""

from pynetdicom import _config

_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
_config.STORE_SEND_CHUNKED_DATASET = True
