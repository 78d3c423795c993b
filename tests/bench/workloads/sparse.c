/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse matrices: rows as arrays that grow while a product is formed, then live, then go.
 *
 * Products of random sparse matrices: every result row is built in a scratch list, copied to an
 * array of exactly its length, and freed with its matrix a few products later.
 */
#include "load.h"

enum { ROWS = 6000, PER_ROW = 12, PRODUCTS = 30, CAP = 24 };

struct item {
    uint32_t column, value;
};

struct row {
    size_t count;
    struct item *item;
};

struct matrix {
    struct row row[ROWS];
};

static struct matrix *random_matrix(uint64_t *seed) {
    struct matrix *matrix = not_null(calloc(1, sizeof *matrix));
    for (int r = 0; r < ROWS; r++) {
        struct row *row = &matrix->row[r];
        row->count = 1 + random_below(seed, 2 * PER_ROW);
        row->item = not_null(malloc(row->count * sizeof *row->item));
        for (size_t i = 0; i < row->count; i++)
            row->item[i] =
                (struct item){(uint32_t)random_below(seed, ROWS), (uint32_t)random_below(seed, 10)};
    }
    return matrix;
}

static void add(struct row *row, size_t *room, struct item item) {
    for (size_t i = 0; i < row->count && i < CAP; i++) {
        if (row->item[i].column == item.column) {
            row->item[i].value += item.value;
            return;
        }
    }
    if (row->count == *room)
        row->item = not_null(realloc(row->item, (*room = *room + *room / 2 + 2) * sizeof item));
    row->item[row->count++] = item;
}

static struct row row_product(const struct row *left, const struct matrix *right) {
    struct row sum = {0};
    size_t room = 0;
    for (size_t i = 0; i < left->count; i++) {
        const struct row *row = &right->row[left->item[i].column];
        for (size_t j = 0; j < row->count; j++)
            add(&sum, &room,
                (struct item){row->item[j].column, row->item[j].value * left->item[i].value});
    }
    sum.count = sum.count < CAP ? sum.count : CAP;
    if (sum.count)
        sum.item = not_null(realloc(sum.item, sum.count * sizeof *sum.item));
    return sum;
}

static struct matrix *product(const struct matrix *left, const struct matrix *right) {
    struct matrix *result = not_null(calloc(1, sizeof *result));
    for (int r = 0; r < ROWS; r++)
        result->row[r] = row_product(&left->row[r], right);
    return result;
}

static uint64_t end(struct matrix *matrix) {
    uint64_t sum = 0;
    for (int r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < matrix->row[r].count; i++)
            sum += matrix->row[r].item[i].column + matrix->row[r].item[i].value;
        free(matrix->row[r].item);
    }
    free(matrix);
    return sum;
}

int main(int argc, char **argv) {
    uint64_t seed = 5, sum = 0;
    size_t products = scaled(argc, argv, PRODUCTS);
    struct matrix *held = random_matrix(&seed);
    for (size_t i = 0; i < products; i++) {
        struct matrix *factor = random_matrix(&seed), *next = product(held, factor);
        sum += end(held) + end(factor);
        held = next;
    }
    return result(sum + end(held));
}
