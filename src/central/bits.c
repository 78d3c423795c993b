/* SPDX-License-Identifier: Apache-2.0
 *
 * The bits of a span: which of its objects are free.
 *
 * One bit an object, set while it is free in its span. Path up: the lowest set bits, from
 * first_word on. Path down: bits are set, those of one word at once. A bit that is set already is a
 * second free that free itself did not notice.
 *
 *     free_count = the number of set bits of free_bits
 *     no bit is set in a word below first_word
 *
 * SYNCHRONIZATION: the lock of the span's class. `free_count` has relaxed readers.
 *
 * Must never read or write an object's own memory.
 */
#include "base/bits.h"
#include "base/check.h"
#include "central/central_private.h"
#include "meta/classes.h"

/* The objects of a word whose bits are all set from one on to its end, lowest first: as after a
 * batch from a span that was whole. No bit needs to be searched for. */
static size_t take_stretch(char *first, size_t size_bytes, uint64_t *bits, void **ret_objects,
                           size_t count) {
    unsigned from = (unsigned)__builtin_ctzll(*bits);
    char *object = first + from * size_bytes;
    count = mal_min(count, 64 - from);
    for (size_t i = 0; i < count; i++, object += size_bytes)
        ret_objects[i] = object;
    *bits = from + count < 64 ? *bits << count : 0;
    return count;
}

static bool is_set_to_its_end(uint64_t bits) {
    return bits != 0 && (bits | (bits - 1)) == ~0ull;
}

/* Free objects of one word of bits, lowest first. */
static size_t take_from_word(struct mal_span *span, unsigned word, void **ret_objects,
                             size_t count) {
    size_t size_bytes = mal_class[span->class].size_bytes;
    char *first = span->base + word * 64 * size_bytes;
    uint64_t bits = span->free_bits[word];
    size_t got = 0;
    if (is_set_to_its_end(bits))
        return take_stretch(first, size_bytes, &span->free_bits[word], ret_objects, count);
    for (; bits != 0 && got < count; bits &= bits - 1)
        ret_objects[got++] = first + (unsigned)__builtin_ctzll(bits) * size_bytes;
    span->free_bits[word] = bits;
    return got;
}

size_t mal_central_take_bits(struct mal_span *span, void **ret_objects, size_t count) {
    unsigned word = span->first_word;
    size_t got = 0;
    count = mal_min(count, span->free_count);
    while ((got += take_from_word(span, word, ret_objects + got, count - got)) < count)
        word++;
    span->first_word = (uint16_t)word;
    mal_store_relaxed(&span->free_count, (uint16_t)(span->free_count - count));
    return count;
}

static unsigned index_of(const struct mal_span *span, uint32_t class, const void *object) {
    uint64_t offset = (uint64_t)((const char *)object - span->base);
    unsigned index = (unsigned)((offset * mal_class[class].divide_magic) >> 32);
    MAL_CHECK((uint64_t)index * mal_class[class].size_bytes == offset,
              "a cached pointer is not the start of an object");
    return index;
}

/* What free itself did not notice, because the object was written into between its two frees. A
 * handler of SIGABRT may allocate: the lock is given up first, and the counts err on the safe side.
 */
static MAL_SLOW _Noreturn void die_of_second_free(struct central *central,
                                                  const struct mal_span *span, unsigned word,
                                                  uint64_t bits) {
    uint32_t size_bytes = mal_class[span->class].size_bytes;
    unsigned index = word * 64 + (unsigned)__builtin_ctzll(bits);
    mal_central_unlock_class(central);
    mal_die("free(%p): double free of an object of size class %u, written into in between",
            (void *)(span->base + (size_t)index * size_bytes), size_bytes);
}

static void set_word(struct central *central, struct mal_span *span, unsigned word, uint64_t bits) {
    uint64_t before = span->free_bits[word];
    if (MAL_UNLIKELY(before & bits))
        die_of_second_free(central, span, word, before & bits);
    span->free_bits[word] = before | bits;
}

/* Bits of one word of a span's free_bits that are about to be set. */
struct gathered {
    unsigned word;
    uint64_t bits;
};

static void set_gathered(struct central *central, struct mal_span *span,
                         const struct gathered *gathered) {
    set_word(central, span, gathered->word, gathered->bits);
    if (gathered->word < span->first_word)
        span->first_word = (uint16_t)gathered->word;
}

/* What was freed together lies together, more often than not in the same word: that one is written
 * once, since a bit set in memory would have to wait for the bit before it. */
static void gather(struct central *central, struct mal_span *span, struct gathered *gathered,
                   unsigned index) {
    if (index / 64 != gathered->word || gathered->bits >> index % 64 & 1) {
        set_gathered(central, span, gathered);
        *gathered = (struct gathered){.word = index / 64};
    }
    gathered->bits |= 1ull << index % 64;
}

size_t mal_central_put_bits(struct central *central, struct mal_span *span, void *const *objects,
                            size_t count) {
    uint32_t class = span->class;
    struct gathered gathered = {.word = index_of(span, class, objects[0]) / 64};
    size_t done = 0;
    for (; done < count && mal_central_lies_in(span, objects[done]); done++)
        gather(central, span, &gathered, index_of(span, class, objects[done]));
    set_gathered(central, span, &gathered);
    mal_store_relaxed(&span->free_count, (uint16_t)(span->free_count + done));
    return done;
}
