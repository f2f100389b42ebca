"""Rate limiting: learns the server's limit, and makes requests wait until they may be sent.

`controller` decides when the next request may leave and `queue` whose it is; `paces` does the
waiting; `sizes` learns the largest request; `protocol` is what a pace of your own must offer.
"""
