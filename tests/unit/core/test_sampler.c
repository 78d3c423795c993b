/* SPDX-License-Identifier: Apache-2.0
 *
 * The mathematics of sampling, with fixed seeds: a draw is exponential (mean, and a chi-square test
 * over equal-probability cells), an allocation of S bytes is hit with 1 - e^(-S/R), log2 is as
 * exact as promised.
 */
#include "sample/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/seeded.h"

#define DRAWS 1000000
#define CELLS 50

static const uint64_t rates[] = {2, 100, 4096, MAL_RATE_DEFAULT_BYTES, MAL_RATE_MAX_BYTES};

static void rate_0_never_and_rate_1_always(void **state) {
    (void)state;
    uint64_t random = 1;
    assert_int_equal(mal_sampler_draw(&random, 0), INT64_MAX);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mal_sampler_draw(&random, 1), 1);
}

/* A draw is floor(X) + 1: its mean is 1 / (1 - e^(-1/R)), its deviation below R + 1. */
static void the_mean_is_the_rate(void **state) {
    (void)state;
    uint64_t random = seeded_start(12) | 1;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        double sum = 0, rate = (double)rates[i];
        for (int draw = 0; draw < DRAWS; draw++) {
            int64_t got = mal_sampler_draw(&random, rates[i]);
            assert_seeded(got >= 1);
            sum += (double)got;
        }
        double wanted = -1 / expm1(-1 / rate);
        /* four and a half standard errors: one in 150 000 */
        assert_seeded(fabs(sum / DRAWS - wanted) < 4.5 * (rate + 1) / sqrt(DRAWS));
    }
}

/* Cells of equal probability; 49 degrees of freedom: 1e-5 lies above 102. */
static void gaps_are_exponential(void **state) {
    (void)state;
    uint64_t random = seeded_start(13) | 1;
    uint64_t cell[CELLS] = {0};
    double rate = MAL_RATE_DEFAULT_BYTES, chi_square = 0;
    for (int draw = 0; draw < DRAWS; draw++) {
        double x = (double)mal_sampler_draw(&random, MAL_RATE_DEFAULT_BYTES) - 0.5;
        double below = -expm1(-x / rate);
        cell[(int)(below * CELLS)]++;
    }
    for (int i = 0; i < CELLS; i++) {
        double expected = (double)DRAWS / CELLS;
        chi_square += ((double)cell[i] - expected) * ((double)cell[i] - expected) / expected;
    }
    assert_seeded(chi_square < 102);
}

/* What readers multiply by: P(draw <= S) = 1 - e^(-S/R), also where S is not small beside R. */
static void an_object_is_hit_as_often_as_readers_assume(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 16, 100, 4096, 65536};
    uint64_t random = seeded_start(14) | 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t hits = 0;
        for (int draw = 0; draw < DRAWS; draw++)
            hits += mal_sampler_draw(&random, 4096) <= (int64_t)sizes[i];
        double p = -expm1(-(double)sizes[i] / 4096);
        double z = ((double)hits - DRAWS * p) / sqrt(DRAWS * p * (1 - p) + 1);
        assert_seeded(fabs(z) < 4.5);
    }
}

/* Neighbouring draws do not depend on each other: both below the median in a quarter of pairs. */
static void draws_are_independent(void **state) {
    (void)state;
    uint64_t random = seeded_start(15) | 1;
    int64_t median = (int64_t)(MAL_RATE_DEFAULT_BYTES * log(2));
    uint64_t both = 0;
    int before = 0;
    for (int draw = 0; draw < DRAWS; draw++) {
        int below = mal_sampler_draw(&random, MAL_RATE_DEFAULT_BYTES) <= median;
        both += (uint64_t)(below && before);
        before = below;
    }
    /* The pairs overlap, which makes the variance 5/16 n instead of 3/16 n. */
    assert_seeded(fabs((double)both - DRAWS / 4.0) < 4.5 * sqrt(DRAWS * 5.0 / 16));
}

static void log2_is_within_its_bound(void **state) {
    (void)state;
    uint64_t random = seeded_start(16);
    double bound = ldexp(1, -30);
    for (int i = 0; i < DRAWS; i++) {
        double x = 1 + (double)(seeded_next(&random) >> (1 + seeded_below(&random, 63)));
        assert_seeded(fabs(mal_sampler_log2(x) - log2(x)) < bound);
    }
    for (int i = 0; i <= 1000; i++)
        assert_true(fabs(mal_sampler_log2(1 + i / 1000.0) - log2(1 + i / 1000.0)) < bound);
    assert_true(mal_sampler_log2(1) == 0);
    assert_true(mal_sampler_log2(1024) == 10);
}

static void rates_above_the_maximum_count_as_the_maximum(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 1000; seed++) {
        uint64_t a = seed, b = seed;
        assert_int_equal(mal_sampler_draw(&a, UINT64_MAX),
                         mal_sampler_draw(&b, MAL_RATE_MAX_BYTES));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_0_never_and_rate_1_always),
        cmocka_unit_test(the_mean_is_the_rate),
        cmocka_unit_test(gaps_are_exponential),
        cmocka_unit_test(an_object_is_hit_as_often_as_readers_assume),
        cmocka_unit_test(draws_are_independent),
        cmocka_unit_test(log2_is_within_its_bound),
        cmocka_unit_test(rates_above_the_maximum_count_as_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
