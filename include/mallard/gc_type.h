/* SPDX-License-Identifier: Apache-2.0
 *
 * Types for the collected heap: where the pointers of an object are.
 *
 *     struct node { struct node *left, *right; const char *name; long key; };
 *     MALLARD_GC_TYPE(node_type, struct node, left, right, name);
 *
 *     struct list { size_t length; struct list *next; struct node *item[]; };
 *     MALLARD_GC_TYPE_POINTERS(list_type, struct list, (next), item);
 *
 *     struct pair { struct node *key; long value; };
 *     struct table { size_t length; struct pair pair[]; };
 *     MALLARD_GC_TYPE_FLEX(table_type, struct table, (), pair, struct pair, key);
 *
 *     MALLARD_GC_TYPE_NOSCAN(text_type, char[64]);
 *
 * Each makes a constant `id` with internal linkage. Fields are named by path: `left`, `val.p` for a
 * member of a nested structure or an arm of a union, `kids` for a whole array of pointers. A field
 * that is no pointer and no array of pointers, or lies at no multiple of a pointer's size, does not
 * compile. List every field that may hold a pointer into the collected heap: what only a field that
 * is not listed points to is collected. Of a union list the arm that is a pointer; whatever else it
 * holds then is looked up and found to be none. Up to 48 fields.
 *
 * The macros need C11 and gcc's or clang's __typeof__; a constant may be used by any thread.
 * Go's counterpart: the pointer mask that the compiler makes for every type.
 */
#ifndef MALLARD_GC_TYPE_H
#define MALLARD_GC_TYPE_H

#include <stddef.h>
#include <stdint.h>

/* Words of pointers side by side. */
struct mallard_gc_run {
    size_t offset_bytes;
    size_t bytes;
};

/* Made by the macros below; programs that generate code may fill it in themselves.
 *     object = head of `bytes`, then elements of `element_bytes` each from `array_offset` on
 * Runs must lie inside the head or the element and hold whole words. */
struct mallard_gc_type {
    size_t bytes;         /* of the head; a multiple of nothing in particular */
    size_t element_bytes; /* 0: no elements */
    size_t array_offset;  /* at most `bytes` */
    uint64_t mask;        /* bit i: word i of the head is a pointer; the first 64 words */
    const struct mallard_gc_run *runs; /* all of the head */
    const struct mallard_gc_run *element_runs;
    uint32_t run_count;
    uint32_t element_run_count;
    const char *name;
};

/* ---- what the macros are made of; not for programs ---- */

#define MALLARD_GC_MAP_1_(m, c, x) m(c, x)
#define MALLARD_GC_MAP_2_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_1_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_3_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_2_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_4_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_3_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_5_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_4_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_6_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_5_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_7_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_6_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_8_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_7_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_9_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_8_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_10_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_9_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_11_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_10_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_12_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_11_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_13_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_12_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_14_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_13_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_15_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_14_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_16_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_15_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_17_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_16_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_18_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_17_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_19_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_18_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_20_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_19_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_21_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_20_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_22_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_21_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_23_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_22_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_24_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_23_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_25_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_24_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_26_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_25_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_27_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_26_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_28_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_27_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_29_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_28_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_30_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_29_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_31_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_30_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_32_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_31_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_33_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_32_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_34_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_33_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_35_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_34_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_36_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_35_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_37_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_36_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_38_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_37_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_39_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_38_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_40_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_39_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_41_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_40_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_42_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_41_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_43_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_42_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_44_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_43_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_45_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_44_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_46_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_45_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_47_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_46_(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_48_(m, c, x, ...) m(c, x) MALLARD_GC_MAP_47_(m, c, __VA_ARGS__)
#define MALLARD_GC_PICK_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16,    \
                         a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30,     \
                         a31, a32, a33, a34, a35, a36, a37, a38, a39, a40, a41, a42, a43, a44,     \
                         a45, a46, a47, a48, n, ...)                                               \
    n
#define MALLARD_GC_COUNT_(...)                                                                     \
    MALLARD_GC_PICK_(__VA_ARGS__, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33,  \
                     32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14,   \
                     13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define MALLARD_GC_PASTE_(a, b) MALLARD_GC_PASTE2_(a, b)
#define MALLARD_GC_PASTE2_(a, b) a##b
#define MALLARD_GC_MAP_(m, c, ...)                                                                 \
    MALLARD_GC_PASTE_(MALLARD_GC_PASTE_(MALLARD_GC_MAP_, MALLARD_GC_COUNT_(__VA_ARGS__)), _)       \
    (m, c, __VA_ARGS__)

/* 1 when the list of arguments holds a comma, 0 when not; then whether it is empty at all: an empty
 * one has no comma by itself, nor behind a macro's name or before parentheses, but between both. */
#define MALLARD_GC_HAS_COMMA_(...)                                                                 \
    MALLARD_GC_PICK_(__VA_ARGS__, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,   \
                     1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, \
                     0, 0)
#define MALLARD_GC_TO_COMMA_(...) ,
#define MALLARD_GC_IS_EMPTY_(...)                                                                  \
    MALLARD_GC_IS_EMPTY2_(MALLARD_GC_HAS_COMMA_(__VA_ARGS__),                                      \
                          MALLARD_GC_HAS_COMMA_(MALLARD_GC_TO_COMMA_ __VA_ARGS__),                 \
                          MALLARD_GC_HAS_COMMA_(__VA_ARGS__()),                                    \
                          MALLARD_GC_HAS_COMMA_(MALLARD_GC_TO_COMMA_ __VA_ARGS__()))
#define MALLARD_GC_IS_EMPTY2_(a, b, c, d) MALLARD_GC_IS_EMPTY3_(a, b, c, d)
#define MALLARD_GC_IS_EMPTY3_(a, b, c, d) MALLARD_GC_HAS_COMMA_(MALLARD_GC_EMPTY_CASE_##a##b##c##d)
#define MALLARD_GC_EMPTY_CASE_0001 ,
/* Like MAP, but an empty list maps to nothing. */
#define MALLARD_GC_MAP_ANY_(m, c, ...)                                                             \
    MALLARD_GC_PASTE_(MALLARD_GC_MAP_ANY_, MALLARD_GC_IS_EMPTY_(__VA_ARGS__))(m, c, __VA_ARGS__)
#define MALLARD_GC_MAP_ANY_1(m, c, ...)
#define MALLARD_GC_MAP_ANY_0(m, c, ...) MALLARD_GC_MAP_(m, c, __VA_ARGS__)
#define MALLARD_GC_LIST_(...) __VA_ARGS__

#define MALLARD_GC_FIELD_(type, field) (((type *)0)->field)
/* An array of pointers decays to a pointer like a pointer itself: the type tells them apart, and of
 * an array the element must be a plain pointer. 5 is what both compilers call pointers. */
#define MALLARD_GC_IS_SCALAR_(x)                                                                   \
    __builtin_types_compatible_p(__typeof__(x), __typeof__(1 ? (x) : (x)))
#define MALLARD_GC_IS_POINTER_(x) (MALLARD_GC_IS_SCALAR_(x) && __builtin_classify_type(x) == 5)
#define MALLARD_GC_ELEMENT_(x)                                                                     \
    (*__builtin_choose_expr(__builtin_classify_type(x) == 5 && !MALLARD_GC_IS_SCALAR_(x), (x),     \
                            (int *)0))
#define MALLARD_GC_IS_POINTERS_(x)                                                                 \
    (MALLARD_GC_IS_POINTER_(x) || MALLARD_GC_IS_POINTER_(MALLARD_GC_ELEMENT_(x)))
#define MALLARD_GC_CHECK_(type, field)                                                             \
    _Static_assert(offsetof(type, field) % sizeof(void *) == 0 &&                                  \
                       MALLARD_GC_IS_POINTERS_(MALLARD_GC_FIELD_(type, field)),                    \
                   #type "." #field " is not a word-aligned pointer field");
#define MALLARD_GC_RUN_(type, field)                                                               \
    {offsetof(type, field), sizeof(MALLARD_GC_FIELD_(type, field))},
/* Bits [from, from + count) of a word, as far as they lie in it. */
#define MALLARD_GC_BITS_(from, count)                                                              \
    ((from) > 63                                                                                   \
         ? (uint64_t)0                                                                             \
         : ((count) > 63 ? ~(uint64_t)0 : ((uint64_t)1 << ((count)&63)) - 1) << ((from)&63))
#define MALLARD_GC_MASK_(type, field)                                                              \
    MALLARD_GC_BITS_(offsetof(type, field) / sizeof(void *),                                       \
                     sizeof(MALLARD_GC_FIELD_(type, field)) / sizeof(void *)) |
#define MALLARD_GC_RUNS_(id, type, ...)                                                            \
    static const struct mallard_gc_run id[] = {                                                    \
        MALLARD_GC_MAP_ANY_(MALLARD_GC_RUN_, type, __VA_ARGS__){0, 0}};                            \
    MALLARD_GC_MAP_ANY_(MALLARD_GC_CHECK_, type, __VA_ARGS__)
#define MALLARD_GC_RUN_COUNT_(id) (sizeof(id) / sizeof((id)[0]) - 1)
#define MALLARD_GC_UNUSED_ __attribute__((unused))

/* ---- for programs ---- */

/* Objects of one type, whose listed fields are pointers. For mallard_gc_new and mallard_gc_alloc.
 */
#define MALLARD_GC_TYPE(id, type, ...)                                                             \
    MALLARD_GC_RUNS_(id##_runs_, type, __VA_ARGS__)                                                \
    MALLARD_GC_UNUSED_ static const struct mallard_gc_type id = {                                  \
        sizeof(type),                                                                              \
        0,                                                                                         \
        sizeof(type),                                                                              \
        MALLARD_GC_MAP_ANY_(MALLARD_GC_MASK_, type, __VA_ARGS__) 0,                                \
        id##_runs_,                                                                                \
        NULL,                                                                                      \
        MALLARD_GC_RUN_COUNT_(id##_runs_),                                                         \
        0,                                                                                         \
        #type}

/* A structure that ends in a flexible array: the head's fields in parentheses, `()` for none; the
 * array; the type of its elements and their fields, none where they hold no pointers. For
 * mallard_gc_new_flex and mallard_gc_resize_flex. */
#define MALLARD_GC_TYPE_FLEX(id, type, fields, array, element_type, ...)                           \
    _Static_assert(sizeof(element_type) == sizeof(MALLARD_GC_FIELD_(type, array)[0]),              \
                   #type "." #array " is no array of " #element_type);                             \
    MALLARD_GC_RUNS_(id##_element_runs_, element_type, __VA_ARGS__)                                \
    MALLARD_GC_FLEX_(id, type, fields, array, element_type)

/* The same with an array of pointers. */
#define MALLARD_GC_TYPE_POINTERS(id, type, fields, array)                                          \
    _Static_assert(MALLARD_GC_IS_POINTER_(MALLARD_GC_FIELD_(type, array)[0]),                      \
                   #type "." #array " is no array of pointers");                                   \
    static const struct mallard_gc_run id##_element_runs_[] = {{0, sizeof(void *)}, {0, 0}};       \
    MALLARD_GC_FLEX_(id, type, fields, array, void *)

#define MALLARD_GC_FLEX_(id, type, fields, array, element_type)                                    \
    _Static_assert(offsetof(type, array) % sizeof(void *) == 0 ||                                  \
                       MALLARD_GC_RUN_COUNT_(id##_element_runs_) == 0,                             \
                   #type "." #array " is not word-aligned");                                       \
    _Static_assert(sizeof(element_type) % sizeof(void *) == 0 ||                                   \
                       MALLARD_GC_RUN_COUNT_(id##_element_runs_) == 0,                             \
                   #element_type " is not a whole number of words");                               \
    MALLARD_GC_RUNS_(id##_runs_, type, MALLARD_GC_LIST_ fields)                                    \
    MALLARD_GC_UNUSED_ static const struct mallard_gc_type id = {                                  \
        sizeof(type),                                                                              \
        sizeof(element_type),                                                                      \
        offsetof(type, array),                                                                     \
        MALLARD_GC_MAP_ANY_(MALLARD_GC_MASK_, type, MALLARD_GC_LIST_ fields) 0,                    \
        id##_runs_,                                                                                \
        id##_element_runs_,                                                                        \
        MALLARD_GC_RUN_COUNT_(id##_runs_),                                                         \
        MALLARD_GC_RUN_COUNT_(id##_element_runs_),                                                 \
        #type}

/* Objects without pointers into the collected heap; never looked into. */
#define MALLARD_GC_TYPE_NOSCAN(id, type)                                                           \
    MALLARD_GC_UNUSED_ static const struct mallard_gc_type id = {                                  \
        sizeof(type), 0, sizeof(type), 0, NULL, NULL, 0, 0, #type}

#endif
