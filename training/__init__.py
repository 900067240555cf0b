"""Makes the model bundles that the node runs; imports inference, never node or db."""
