"""Video classification: decoding, clips and views, 3D networks."""
