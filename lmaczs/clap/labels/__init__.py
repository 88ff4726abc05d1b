"""Classifiers with labels of their own: a torch module of yours, or one of transformers' audio classifiers.

They fit into everything that is made for CLAPs: labels are the prompts, and the universal decoder explains them at once.
"""
