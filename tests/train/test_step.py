"""Loss over a large vocabulary in parts, heads of several families, and evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.rounding import rounding
from tests.train.tiny import rows, rows_of_one_beginning, tiny_model
from torch.nn import functional

from assay.train.loss import CHUNK, backward_cross_entropy, logits_head, token_losses
from assay.train.sequences import TrainingSequence, alone
from assay.train.step import check_head, evaluate, sequence_logps, step


def test_chunks_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    count = 2 * CHUNK + 7
    matrix = torch.nn.Linear(8, 30, bias=False)
    hidden = torch.randn(count, 8, requires_grad=True)
    targets, weights = torch.randint(0, 30, (count,)), torch.rand(count)
    expected = (functional.cross_entropy(matrix(hidden), targets, reduction="none") * weights).sum()
    expected.backward()
    wanted, wanted_matrix = hidden.grad, matrix.weight.grad
    assert wanted is not None
    assert wanted_matrix is not None
    hidden.grad = matrix.weight.grad = None
    total = backward_cross_entropy(matrix, hidden, targets, weights)
    assert float(total) == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(hidden.grad, wanted)
    torch.testing.assert_close(matrix.weight.grad, wanted_matrix)
    assert float((token_losses(matrix, hidden, targets) * weights).sum()) == pytest.approx(
        float(total)
    )


def test_the_head_is_never_asked_for_more_than_a_chunk() -> None:
    asked: list[int] = []

    def head(hidden: torch.Tensor) -> torch.Tensor:
        asked.append(len(hidden))
        return hidden

    hidden = torch.randn(3 * CHUNK, 5, requires_grad=True)
    targets = torch.zeros(3 * CHUNK, dtype=torch.long)
    backward_cross_entropy(head, hidden, targets, torch.ones(3 * CHUNK))
    assert asked == [CHUNK] * 3


def _family(name: str) -> Any:
    import transformers

    shared = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": 2,
        "eos_token_id": 2,
        "bos_token_id": 1,
    }
    extra: dict[str, dict[str, Any]] = {
        "Gemma2": {"final_logit_softcapping": 2.0, "sliding_window": 4},
        "Cohere": {"logit_scale": 0.3},
        "Granite": {"logits_scaling": 3.0},
        "Mistral": {"sliding_window": 4},
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**shared, **extra.get(name, {})})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


@pytest.mark.parametrize(
    "name", ["Llama", "Qwen2", "Qwen3", "Mistral", "Gemma2", "Cohere", "Granite", "Phi3"]
)
def test_the_loss_is_that_of_each_family(name: str) -> None:
    model = _family(name)
    sequences = rows(3, seed=4)
    check_head(model, sequences[0])
    expected = []
    with torch.no_grad():
        for row in sequences:
            logits = model(input_ids=torch.tensor([row.ids])).logits[0].float()
            losses = functional.cross_entropy(
                logits[:-1], torch.tensor(row.ids[1:]), reduction="none"
            )
            expected.append(losses[torch.tensor(row.trained[1:])])
    wanted = float(torch.cat(expected).mean())
    assert evaluate(model, alone(sequences)) == pytest.approx(wanted, rel=rounding(model))
    assert step(model, alone(sequences))[0] == pytest.approx(wanted, rel=rounding(model))


def test_gpt2_with_positions_of_its_own() -> None:
    """Learned positions and Conv1D: right padding must not move them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    model = GPT2LMHeadModel(config).eval()
    check_head(model, rows(1)[0])


def test_weights_of_rows_count_as_often() -> None:
    """A row of weight 2 counts as if it were there twice."""
    model = tiny_model()
    one, two = rows(2, seed=1)
    doubled = TrainingSequence(two.ids, two.trained, 2.0)
    assert evaluate(model, alone([one, doubled])) == pytest.approx(
        evaluate(model, alone([one, two, two]))
    )


def test_evaluation_keeps_the_mode_and_makes_no_gradients() -> None:
    model = tiny_model().train()
    evaluate(model, alone(rows(2)))
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_evaluation_can_be_stopped_between_passes() -> None:
    calls = []

    def between() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    model = tiny_model()
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, alone(rows(6)), tokens=1, between=between)
    assert not model.training


def test_a_head_is_found() -> None:
    model = tiny_model(tie_word_embeddings=False)
    hidden = torch.randn(2, 32)
    torch.testing.assert_close(logits_head(model)(hidden), model.lm_head(hidden))


def test_the_same_step_gives_the_same_bits_where_rows_share_trained_tokens() -> None:
    """What a shared token is given by several rows must add up in one order, on many threads."""
    many = rows_of_one_beginning(40)
    model = tiny_model().train()

    def gradients() -> list[torch.Tensor]:
        model.zero_grad(set_to_none=True)
        step(model, alone(many))
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        first = gradients()
        for _ in range(5):
            assert all(map(torch.equal, first, gradients()))
    finally:
        torch.set_num_threads(threads)


def test_a_long_row_does_not_change_how_a_short_one_is_rotated() -> None:
    """LongRoPE rotates a whole pass by its longest sequence."""
    from transformers import Phi3Config, Phi3ForCausalLM

    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0] * 4,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    sizes = tiny_model().config.to_diff_dict() | {"model_type": "phi3", "rope_parameters": rope}
    torch.manual_seed(0)
    config = Phi3Config(**sizes, original_max_position_embeddings=32)
    model = Phi3ForCausalLM(config).eval()
    assert config.rope_parameters["original_max_position_embeddings"] == 32
    (short,), (long,) = rows(1, low=20, high=21), rows(1, seed=1, low=60, high=61)
    apart = [float(sequence_logps(model, [row])[0]) for row in (short, long)]
    assert sequence_logps(model, [short, long]).tolist() == pytest.approx(
        apart, rel=rounding(model)
    )
    with torch.no_grad():
        for row, ours in ((short, apart[0]), (long, apart[1])):
            logits = model(input_ids=torch.tensor([row.inputs])).logits[0]
            losses = functional.cross_entropy(logits[-3:], torch.tensor(row.ids[-3:]))
            assert ours == pytest.approx(-3 * float(losses), rel=rounding(model))
