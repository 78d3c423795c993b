/* SPDX-License-Identifier: Apache-2.0
 *
 * gctrace and gcpacertrace lines.
 *
 * Scripts and programs parse these lines, so they are Go 1.19's to the byte: which values are cut
 * and never rounded, MiB that are called MB, a bare 0 for less than a microsecond, and numbers with
 * fractions as Go's runtime prints them, +d.dddddde+ddd. The caller writes a line with one write.
 *
 * SYNCHRONIZATION: none; no state.
 *
 * It must never call printf: these lines are made on threads whose stdio may be locked by a thread
 * that is stopped.
 */
#include "gc/trace.h"

#include "base/format.h"

#define MIB_SHIFT 20
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

struct piece {
    char text[24];
};

/* Milliseconds: two significant digits, three decimals at most, cut. */
static struct piece ms(uint64_t ns) {
    struct piece piece;
    uint64_t us = ns / NS_PER_US;
    unsigned long whole = us / 1000;
    if (ns >= 10 * NS_PER_MS)
        mal_format(piece.text, sizeof piece.text, "%lu", whole);
    else if (us >= 1000)
        mal_format(piece.text, sizeof piece.text, "%lu.%lu", whole, us / 100 % 10);
    else if (us >= 100)
        mal_format(piece.text, sizeof piece.text, "0.%lu", us / 10);
    else if (us > 0)
        mal_format(piece.text, sizeof piece.text, "0.0%lu%lu", us / 10, us % 10);
    else
        mal_format(piece.text, sizeof piece.text, "0");
    return piece;
}

/* Seconds with exactly three decimals, cut. */
static struct piece seconds(uint64_t ns) {
    struct piece piece;
    uint64_t all_ms = ns / NS_PER_MS;
    mal_format(piece.text, sizeof piece.text, "%lu.%lu%lu%lu", all_ms / 1000, all_ms / 100 % 10,
               all_ms / 10 % 10, all_ms % 10);
    return piece;
}

static unsigned long mib(uint64_t bytes) {
    return bytes >> MIB_SHIFT;
}

static long percent(double share) {
    return (long)(share * 100);
}

#define FLOAT_DIGITS 7

/* A positive finite number as mantissa in [1, 10), rounded to FLOAT_DIGITS digits, and exponent. */
static int normalize(double *value) {
    int exponent = 0;
    for (; *value >= 10; exponent++)
        *value /= 10;
    for (; *value < 1; exponent--)
        *value *= 10;
    double half = 5;
    for (unsigned i = 0; i < FLOAT_DIGITS; i++)
        half /= 10;
    *value += half;
    if (*value < 10)
        return exponent;
    *value /= 10;
    return exponent + 1;
}

static void put_digits(char *next, double mantissa) {
    for (unsigned i = 0; i < FLOAT_DIGITS; i++) {
        unsigned digit = (unsigned)mantissa;
        *next++ = (char)('0' + digit);
        if (i == 0)
            *next++ = '.';
        mantissa = (mantissa - digit) * 10;
    }
    *next = '\0';
}

/* +d.dddddde+ddd */
static struct piece real(double value) {
    struct piece piece;
    char digits[FLOAT_DIGITS + 2];
    if (value != value)
        return (struct piece){"NaN"};
    int is_negative = __builtin_signbit(value) != 0;
    double mantissa = is_negative ? -value : value;
    if (mantissa > 1.7976931348623157e308)
        return is_negative ? (struct piece){"-Inf"} : (struct piece){"+Inf"};
    int exponent = mantissa > 0 ? normalize(&mantissa) : 0;
    unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
    put_digits(digits, mantissa);
    mal_format(piece.text, sizeof piece.text, "%c%se%c%u%u%u", is_negative ? '-' : '+', digits,
               exponent < 0 ? '-' : '+', size / 100, size / 10 % 10, size % 10);
    return piece;
}

size_t mal_gc_trace_line(char *ret_line, size_t bytes, const struct mal_gc_trace *trace) {
    return mal_format(
        ret_line, bytes,
        "gc %lu @%ss %ld%%: %s+%s+%s ms clock, %s+%s/%s/%s+%s ms cpu, %lu->%lu->%lu MB, "
        "%lu MB goal, %lu MB stacks, %lu MB globals, %u P%s\n",
        trace->number, seconds(trace->since_start_ns).text, percent(trace->cpu_share),
        ms(trace->clock_ns[0]).text, ms(trace->clock_ns[1]).text, ms(trace->clock_ns[2]).text,
        ms(trace->sweep_term_cpu_ns).text, ms(trace->assist_ns).text, ms(trace->background_ns).text,
        ms(trace->idle_ns).text, ms(trace->mark_term_cpu_ns).text, mib(trace->live_start_bytes),
        mib(trace->live_end_bytes), mib(trace->marked_bytes), mib(trace->goal_bytes),
        mib(trace->stack_bytes), mib(trace->globals_bytes), trace->cpus,
        trace->forced ? " (forced)" : "");
}

/* "12/3/4", or "0" where no round was made. */
static void put_rounds(char *ret_text, size_t bytes, const struct mal_gc_trace_dirty *dirty) {
    size_t length = 0;
    mal_format(ret_text, bytes, "0");
    for (unsigned i = 0; i < dirty->rounds && i < MAL_GC_TRACE_ROUNDS; i++)
        length += mal_format(ret_text + length, bytes - length, "%s%lu", i ? "/" : "",
                             dirty->round_pages[i]);
}

size_t mal_gc_trace_dirty_line(char *ret_line, size_t bytes,
                               const struct mal_gc_trace_dirty *dirty) {
    char rounds[MAL_GC_TRACE_ROUNDS * 21];
    put_rounds(rounds, sizeof rounds, dirty);
    return mal_format(ret_line, bytes,
                      "dirty backend=%s rounds=%u dirty=%s final=%lup ttsp=%lu+%luus wp=%sms "
                      "restarts=%u\n",
                      dirty->backend, dirty->rounds, rounds, dirty->final_pages,
                      dirty->stop_ns[0] / NS_PER_US, dirty->stop_ns[1] / NS_PER_US,
                      ms(dirty->protect_ns).text, dirty->restarts);
}

size_t mal_gc_trace_pacer_start(char *ret_line, size_t bytes,
                                const struct mal_gc_trace_start *start) {
    return mal_format(
        ret_line, bytes, "pacer: assist ratio=%s (scan %lu MB in %lu->%lu MB) workers=%u+%s\n",
        real(start->assist_ratio).text, mib(start->scan_bytes), mib(start->live_bytes),
        mib(start->goal_bytes), start->dedicated, real(start->fractional).text);
}

size_t mal_gc_trace_pacer_end(char *ret_line, size_t bytes, const struct mal_gc_trace_end *end) {
    return mal_format(ret_line, bytes,
                      "pacer: %ld%% CPU (25 exp.) for %lu+%lu+%lu B work (%lu B exp.) in %lu B -> "
                      "%lu B (\u2206goal %ld, cons/mark %s)%s\n",
                      percent(end->utilization), end->heap_scan_bytes, end->stack_scan_bytes,
                      end->globals_scan_bytes, end->expected_scan_bytes, end->triggered_bytes,
                      end->live_bytes, (long)(end->live_bytes - end->goal_bytes),
                      real(end->cons_mark).text, end->was_reset ? "[controller reset]" : "");
}
