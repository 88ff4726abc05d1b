"""Sparse NMF: its objective never rises, it finds what is there, and it is as good as scikit-learn's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lmaczs.explainers.l2i.nmf import SparseNMF, activate


def parts(bins=60, components=4, columns=500, active=0.3, seed=0):
    """Columns that are sums of a few bumps: X, and the unit-norm bumps W."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.linspace(5, bins - 5, components)
    dictionary = torch.exp(-(((torch.arange(bins)[:, None] - centre) / 3) ** 2))
    dictionary = F.normalize(dictionary, dim=0)
    height = torch.rand(components, columns, generator=generator)
    height *= torch.rand(components, columns, generator=generator) < active
    return dictionary @ height, dictionary


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 2.0])
def test_no_update_raises_the_objective_and_columns_keep_unit_norm(sparsity):
    spectra = torch.rand(40, 300, generator=torch.Generator().manual_seed(0))
    fit = SparseNMF.start(spectra, 7, sparsity)
    last = fit.objective(spectra)
    for now in fit.fit(spectra, 60, tolerance=0.0):
        assert now <= last * (1 + 1e-6)  # float32 products
        last = now
        torch.testing.assert_close(fit.dictionary.norm(dim=0), torch.ones(7))
        assert float(fit.dictionary.min()) >= 0 and float(fit.activations.min()) >= 0


def test_the_objective_is_eq_5_by_hand():
    fit = SparseNMF(torch.tensor([[0.6], [0.8]]), torch.tensor([[2.0, 0.5]]), sparsity=0.1)
    spectra = torch.tensor([[1.0, 0.0], [2.0, 0.4]])
    # W H = [[1.2, .3], [1.6, .4]]; errors -.2, -.3, .4, 0: squares .04 + .09 + .16 = .29; .145 + .1 * 2.5 = .395.
    assert fit.objective(spectra) == pytest.approx(0.395, abs=1e-6)


def test_the_parts_that_columns_are_made_of_are_found():
    spectra, dictionary = parts()
    fit = SparseNMF.start(spectra, 4, sparsity=0.01)
    list(fit.fit(spectra, 400, tolerance=1e-7))
    assert (dictionary.T @ fit.dictionary).amax(1).min() > 0.98  # each bump by some column


def test_a_higher_price_gives_fewer_activations():
    spectra, _ = parts(active=0.8)
    shares = []
    for sparsity in (0.0, 0.3):
        fit = SparseNMF.start(spectra, 8, sparsity)
        list(fit.fit(spectra, 200))
        shares.append(float((fit.activations > 1e-3 * fit.activations.max()).float().mean()))
    assert shares[1] < 0.8 * shares[0]


def test_chunks_give_what_the_whole_gives():
    spectra, _ = parts(columns=130)
    whole, pieces = (SparseNMF.start(spectra, 4, 0.1) for _ in range(2))
    for _ in range(3):
        whole.step(spectra)
        pieces.step(spectra, chunk=50)
    torch.testing.assert_close(whole.dictionary, pieces.dictionary)
    assert whole.objective(spectra) == pytest.approx(pieces.objective(spectra, chunk=33), rel=1e-6)


def test_reconstruction_is_as_good_as_that_of_scikit_learn():
    from sklearn.decomposition import NMF

    spectra, _ = parts(components=6, active=0.6)
    spectra = spectra + 0.02 * torch.rand(spectra.shape, generator=torch.Generator().manual_seed(1))
    fit = SparseNMF.start(spectra, 6, 0.0)
    list(fit.fit(spectra, 300, tolerance=1e-7))
    ours = float((spectra - fit.dictionary @ fit.activations).norm() / spectra.norm())
    model = NMF(6, solver="mu", init="random", random_state=0, max_iter=300, tol=1e-7)
    theirs = model.inverse_transform(model.fit_transform(spectra.numpy()))
    assert ours < 1.1 * np.linalg.norm(spectra.numpy() - theirs) / float(spectra.norm())


def test_activations_of_a_fixed_dictionary():
    spectra, dictionary = parts(active=1.0)
    active = activate(dictionary, spectra, sparsity=0.0, steps=200)
    assert float((dictionary @ active - spectra).norm() / spectra.norm()) < 1e-2
