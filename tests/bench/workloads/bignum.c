/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary precision: every intermediate number is a small block that lives for one operation.
 *
 * Computes digits of e by a series of fractions with naive multi-word numbers: one thread, 16 to
 * some hundred bytes, allocation and free in nearly stack order.
 */
#include "load.h"

enum { TERMS = 520, ROUNDS = 400 };

struct number {
    uint32_t words;
    uint32_t word[];
};

static struct number *new_number(uint32_t words) {
    struct number *number = not_null(malloc(sizeof *number + words * sizeof number->word[0]));
    number->words = words;
    return number;
}

static struct number *from_word(uint32_t word) {
    struct number *number = new_number(1);
    number->word[0] = word;
    return number;
}

static struct number *trimmed(struct number *number) {
    while (number->words > 1 && number->word[number->words - 1] == 0)
        number->words--;
    return number;
}

static struct number *times(const struct number *number, uint32_t factor) {
    struct number *product = new_number(number->words + 1);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < number->words; i++) {
        carry += (uint64_t)number->word[i] * factor;
        product->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    product->word[number->words] = (uint32_t)carry;
    return trimmed(product);
}

static struct number *plus(const struct number *a, const struct number *b) {
    uint32_t words = (a->words > b->words ? a->words : b->words) + 1;
    struct number *sum = new_number(words);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < words; i++) {
        carry += i < a->words ? a->word[i] : 0;
        carry += i < b->words ? b->word[i] : 0;
        sum->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return trimmed(sum);
}

/* numerator / denominator becomes numerator * term + 1 / denominator * term. */
static uint64_t series(uint32_t first) {
    struct number *numerator = from_word(1), *denominator = from_word(1), *one = from_word(1);
    for (uint32_t term = first; term < first + TERMS; term++) {
        struct number *scaled_up = times(numerator, term), *sum = plus(scaled_up, one);
        struct number *next = times(denominator, term);
        free(scaled_up);
        free(numerator);
        free(denominator);
        numerator = sum;
        denominator = next;
    }
    uint64_t low = numerator->word[0] ^ denominator->word[denominator->words - 1];
    free(numerator);
    free(denominator);
    free(one);
    return low;
}

int main(int argc, char **argv) {
    uint64_t sum = 0;
    size_t rounds = scaled(argc, argv, ROUNDS);
    for (size_t round = 0; round < rounds; round++)
        for (uint32_t first = 1; first < 60; first++)
            sum += series(first);
    return result(sum);
}
