/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions, lines and inlined calls out of DWARF.
 *
 * Two indexes, since asking libdw address by address walks whole units each time: the ranges of
 * all compilation units, made at once, and per unit the ranges of its functions, made when the
 * first address falls into the unit. Neither needs .debug_aranges, which clang does not write.
 * From a function's entry the chain of inlined calls is followed down the tree that holds the
 * address; the line table gives the place of the innermost, each call site that of its caller.
 */
#include "view/symbol_file.h"

#include "view/table.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TREE_DEPTH_MAX 200
#define OVERLAP_MAX 64

struct range {
    uint64_t start, limit;
    size_t unit;      /* index, for ranges of units */
    Dwarf_Off offset; /* of the function, for ranges of functions */
};

struct ranges {
    struct range *items; /* by start */
    size_t count, capacity;
};

struct unit {
    Dwarf_Off offset;
    bool indexed;
    struct ranges functions;
};

struct symbol_dwarf {
    Dwarf *dwarf;
    struct unit *units;
    size_t unit_count, unit_capacity;
    struct ranges ranges; /* of units */
};

/* ---------------------------------------------------------------------------------- ranges */

static int ranges_add(struct ranges *ranges, const struct range *range) {
    if (range->start >= range->limit)
        return 0;
    struct range *items =
        view_array_grow(ranges->items, ranges->count, &ranges->capacity, sizeof(*items));
    if (!items)
        return -ENOMEM;
    ranges->items = items;
    items[ranges->count++] = *range;
    return 0;
}

/* Adds every range of `die`, low_pc/high_pc included. */
static int ranges_add_die(struct ranges *ranges, Dwarf_Die *die, struct range range) {
    Dwarf_Addr base, start, limit;
    ptrdiff_t offset = 0;
    while ((offset = dwarf_ranges(die, offset, &base, &start, &limit)) > 0) {
        range.start = start;
        range.limit = limit;
        int error = ranges_add(ranges, &range);
        if (error)
            return error;
    }
    return 0;
}

/* By start; among equals the wider first, so that the narrower is met first when walking back. */
static int compare_ranges(const void *left, const void *right) {
    const struct range *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->limit < b->limit) - (a->limit > b->limit);
}

static void ranges_sort(struct ranges *ranges) {
    if (ranges->count > 1)
        qsort(ranges->items, ranges->count, sizeof(*ranges->items), compare_ranges);
}

static const struct range *ranges_find(const struct ranges *ranges, uint64_t address) {
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->items[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (int step = 0; low > 0 && step < OVERLAP_MAX; step++) {
        const struct range *range = &ranges->items[--low];
        if (address < range->limit)
            return range;
    }
    return NULL;
}

/* ----------------------------------------------------------------------------------- units */

static int add_unit(struct symbol_dwarf *self, Dwarf_Die *die) {
    struct unit *units =
        view_array_grow(self->units, self->unit_count, &self->unit_capacity, sizeof(*units));
    if (!units)
        return -ENOMEM;
    self->units = units;
    units[self->unit_count] = (struct unit){.offset = dwarf_dieoffset(die)};
    struct range range = {.unit = self->unit_count++};
    return ranges_add_die(&self->ranges, die, range);
}

int symbol_dwarf_new(Dwarf *dwarf, struct symbol_dwarf **ret_dwarf) {
    struct symbol_dwarf *self = calloc(1, sizeof(*self));
    if (!self)
        return -ENOMEM;
    self->dwarf = dwarf;
    Dwarf_Off at = 0, next;
    size_t header_bytes;
    int error = 0;
    while (!error && dwarf_nextcu(dwarf, at, &next, &header_bytes, NULL, NULL, NULL) == 0) {
        Dwarf_Die die;
        if (dwarf_offdie(dwarf, at + header_bytes, &die) && dwarf_tag(&die) == DW_TAG_compile_unit)
            error = add_unit(self, &die);
        at = next;
    }
    if (error) {
        symbol_dwarf_free(self);
        return error;
    }
    ranges_sort(&self->ranges);
    *ret_dwarf = self;
    return 0;
}

void symbol_dwarf_free(struct symbol_dwarf *dwarf) {
    if (!dwarf)
        return;
    for (size_t i = 0; i < dwarf->unit_count; i++)
        free(dwarf->units[i].functions.items);
    free(dwarf->units);
    free(dwarf->ranges.items);
    free(dwarf);
}

/* Collects the functions below `parent`. Methods hide in classes and name spaces, lambdas inside
 * of functions, so everything that can hold one is entered. */
static int index_functions(struct ranges *functions, Dwarf_Die *parent, int depth) {
    Dwarf_Die die;
    if (depth > TREE_DEPTH_MAX || dwarf_child(parent, &die) != 0)
        return 0;
    do {
        int tag = dwarf_tag(&die);
        int error = 0;
        if (tag == DW_TAG_subprogram) {
            struct range range = {.offset = dwarf_dieoffset(&die)};
            error = ranges_add_die(functions, &die, range);
        }
        if (!error && tag != DW_TAG_inlined_subroutine && dwarf_haschildren(&die) > 0)
            error = index_functions(functions, &die, depth + 1);
        if (error)
            return error;
    } while (dwarf_siblingof(&die, &die) == 0);
    return 0;
}

/* The unit that covers `address`, its functions indexed; NULL when there is none. */
static struct unit *find_unit(struct symbol_dwarf *self, uint64_t address, Dwarf_Die *ret_die) {
    const struct range *range = ranges_find(&self->ranges, address);
    if (!range)
        return NULL;
    struct unit *unit = &self->units[range->unit];
    if (!dwarf_offdie(self->dwarf, unit->offset, ret_die))
        return NULL;
    if (!unit->indexed) {
        if (index_functions(&unit->functions, ret_die, 0) != 0)
            return NULL;
        ranges_sort(&unit->functions);
        unit->indexed = true;
    }
    return unit;
}

/* ---------------------------------------------------------------------------------- frames */

/* Where the unit was compiled: what its relative paths are relative to. */
static const char *folder_of(Dwarf_Die *unit_die) {
    Dwarf_Attribute attribute;
    if (!dwarf_attr(unit_die, DW_AT_comp_dir, &attribute))
        return NULL;
    return dwarf_formstring(&attribute);
}

static const char *linkage_name_of(Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    if (!dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) &&
        !dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
        return NULL;
    return dwarf_formstring(&attribute);
}

static uint64_t number_of(Dwarf_Die *die, unsigned name) {
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    if (!dwarf_attr_integrate(die, name, &attribute) || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return value;
}

static struct raw_frame frame_of(Dwarf_Die *unit_die, Dwarf_Die *function) {
    return (struct raw_frame){.name = dwarf_diename(function),
                              .linkage_name = linkage_name_of(function),
                              .folder = folder_of(unit_die),
                              .start_line = (int64_t)number_of(function, DW_AT_decl_line)};
}

/* Where the inlined `call` was made: the place of the frame around it. */
static void place_call(Dwarf_Die *unit_die, Dwarf_Die *call, struct raw_frame *caller) {
    Dwarf_Files *files;
    size_t count;
    uint64_t file = number_of(call, DW_AT_call_file);
    caller->line = (int64_t)number_of(call, DW_AT_call_line);
    if (dwarf_getsrcfiles(unit_die, &files, &count) == 0 && file < count)
        caller->file = dwarf_filesrc(files, file, NULL, NULL);
}

static void place_address(Dwarf_Die *unit_die, uint64_t address, struct raw_frame *frame) {
    Dwarf_Line *line = dwarf_getsrc_die(unit_die, address);
    int number;
    if (!line)
        return;
    frame->file = dwarf_linesrc(line, NULL, NULL);
    if (dwarf_lineno(line, &number) == 0)
        frame->line = number;
}

/* The child of `parent` whose code holds `address`. */
static bool child_at(Dwarf_Die *parent, uint64_t address, Dwarf_Die *ret_child) {
    Dwarf_Die die;
    if (dwarf_child(parent, &die) != 0)
        return false;
    do {
        int tag = dwarf_tag(&die);
        if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) &&
            dwarf_haspc(&die, address) > 0) {
            *ret_child = die;
            return true;
        }
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
}

/* The inlined calls around `address` inside `function`, outermost first. */
static uint32_t inlined_calls(Dwarf_Die *function, uint64_t address,
                              Dwarf_Die calls[VIEW_FRAMES_MAX - 1]) {
    Dwarf_Die at = *function, child;
    uint32_t count = 0;
    for (int depth = 0; depth < TREE_DEPTH_MAX && child_at(&at, address, &child); depth++) {
        if (dwarf_tag(&child) == DW_TAG_inlined_subroutine) {
            if (count == VIEW_FRAMES_MAX - 1)
                break;
            calls[count++] = child;
        }
        at = child;
    }
    return count;
}

bool symbol_dwarf_find(struct symbol_dwarf *dwarf, uint64_t address, struct raw_symbol *symbol) {
    Dwarf_Die unit_die, function, calls[VIEW_FRAMES_MAX - 1];
    const struct unit *unit = find_unit(dwarf, address, &unit_die);
    const struct range *range = unit ? ranges_find(&unit->functions, address) : NULL;
    if (!range || !dwarf_offdie(dwarf->dwarf, range->offset, &function))
        return false;
    uint32_t inlined = inlined_calls(&function, address, calls);
    symbol->count = inlined + 1;
    for (uint32_t i = 0; i < inlined; i++) {
        symbol->frames[i] = frame_of(&unit_die, &calls[inlined - 1 - i]);
        if (i > 0)
            place_call(&unit_die, &calls[inlined - i], &symbol->frames[i]);
    }
    symbol->frames[inlined] = frame_of(&unit_die, &function);
    if (inlined > 0)
        place_call(&unit_die, &calls[0], &symbol->frames[inlined]);
    place_address(&unit_die, address, &symbol->frames[0]);
    Dwarf_Addr entry;
    symbol->entry = dwarf_entrypc(&function, &entry) == 0 ? entry : range->start;
    symbol->source = VIEW_SYMBOL_DWARF;
    return true;
}
