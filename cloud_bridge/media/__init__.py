"""Logos and intros that people upload: quarantine, a confined worker, and what it wrote into the bucket.

What runs in the worker's process (`worker` and what it imports) has the standard library only: no installed
package is seen in there.
"""
