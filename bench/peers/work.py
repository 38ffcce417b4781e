"""How many arithmetic operations a decision takes, if nothing is computed that nobody reads."""

from dataclasses import dataclass

from archroute_export.checkpoint.shape import ModelShape


@dataclass(frozen=True)
class Product:
    """One matrix product of a layer: `[rows, inner] x [inner, columns]`."""

    name: str
    inner: int
    columns: int

    def operations(self, rows: int) -> int:
        """Count multiplications and additions."""
        return 2 * rows * self.inner * self.columns


def products(model: ModelShape) -> tuple[Product, ...]:
    """Return the products of one layer, joined as the int8 graph joins them."""
    query, key_value = model.attention_heads * model.head_size, model.key_value_heads * model.head_size
    return (
        Product("query, key, value", model.hidden_size, query + 2 * key_value),
        Product("attention output", query, model.hidden_size),
        Product("gate, up", model.hidden_size, 2 * model.intermediate_size),
        Product("down", model.intermediate_size, model.hidden_size),
    )


def linear_operations(model: ModelShape, new: int, read: int) -> int:
    """Count the operations of the products for `new` tokens, of which the last layer's end reads `read`."""
    all_products = products(model)
    layer = sum(product.operations(new) for product in all_products)
    last = all_products[0].operations(new) + sum(product.operations(read) for product in all_products[1:])
    return (model.layers - 1) * layer + last


def attention_operations(model: ModelShape, new: int, cached: int) -> int:
    """Count the operations of scores and weighted values, each token seeing those before it."""
    seen = new * cached + new * (new + 1) // 2
    return 4 * seen * model.attention_heads * model.head_size * model.layers
