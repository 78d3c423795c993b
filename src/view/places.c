/* SPDX-License-Identifier: Apache-2.0
 *
 * Places. A stack holds return addresses: the mapping is that of the return address, the location
 * and its lines are those of the call, one byte before.
 *
 * has_functions is set as soon as a mapping has any location, because every location gets a
 * function: at worst one named "module+0xoffset". That keeps pprof from looking for binaries and
 * from asking /symbol, which could only answer the same. Code outside of every module (made at
 * run time) is named by its address.
 */
#include "view/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t add_mapping(struct view_profile *profile,
                            const struct mal_snapshot_module *module) {
    char build_id[2 * MAL_BOX_BUILD_ID_MAX + 1] = "";
    for (size_t i = 0; i < module->build_id_bytes; i++)
        snprintf(build_id + 2 * i, 3, "%02x", module->build_id[i]);
    struct view_mapping mapping = {.start = module->start,
                                   .limit = module->limit,
                                   .file_offset = module->file_offset,
                                   .filename = view_profile_string(profile, module->path),
                                   .build_id = view_profile_string(profile, build_id)};
    return view_profile_add_mapping(profile, &mapping);
}

/* The program comes first even when nothing is known to be its; what was unloaded is left out. */
static bool is_mapped(const struct mal_snapshot *snapshot, size_t module) {
    return module == 0 || !snapshot->modules[module].unloaded;
}

void view_places_map_all(struct view_profile *profile, const struct mal_snapshot *snapshot) {
    for (size_t i = 0; i < snapshot->module_count; i++) {
        if (is_mapped(snapshot, i))
            add_mapping(profile, &snapshot->modules[i]);
    }
}

static uint32_t mapping_of(struct view_places *places, size_t module) {
    struct view_place_facts *facts = &places->facts[module];
    if (facts->mapping == 0)
        facts->mapping = add_mapping(places->profile, &places->snapshot->modules[module]);
    return facts->mapping;
}

int view_places_begin(struct view_places *places, struct view_profile *profile,
                      const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                      enum view_mappings which) {
    struct view_place_facts *facts = calloc(snapshot->module_count + 1, sizeof(*facts));
    if (!facts)
        return -ENOMEM;
    *places = (struct view_places){.profile = profile, .snapshot = snapshot, .facts = facts};
    int error = view_session_begin(&places->session, symbols, snapshot);
    if (error) {
        free(facts);
        return error;
    }
    size_t count = which == VIEW_MAPPINGS_ALL ? snapshot->module_count : 1;
    for (size_t i = 0; i < count && i < snapshot->module_count; i++) {
        if (is_mapped(snapshot, i))
            mapping_of(places, i);
    }
    return 0;
}

static struct view_line line_of(struct view_profile *profile, const struct view_frame *frame) {
    struct view_function function = {.name = view_profile_string(profile, frame->name),
                                     .system_name =
                                         view_profile_string(profile, frame->system_name),
                                     .filename = view_profile_string(profile, frame->file),
                                     .start_line = frame->start_line};
    return (struct view_line){view_profile_function(profile, &function), frame->line};
}

static void note_facts(struct view_place_facts *facts, const struct view_symbol *symbol) {
    facts->asked = true;
    for (uint32_t i = 0; i < symbol->frame_count; i++) {
        facts->no_file |= !symbol->frames[i].file[0];
        facts->no_line |= symbol->frames[i].line == 0;
    }
    facts->no_inlining |= symbol->source != VIEW_SYMBOL_DWARF;
}

static uint32_t add_location(struct view_places *places, uint32_t mapping, uint64_t address,
                             const struct view_symbol *symbol) {
    struct view_line lines[VIEW_FRAMES_MAX];
    for (uint32_t i = 0; i < symbol->frame_count; i++)
        lines[i] = line_of(places->profile, &symbol->frames[i]);
    struct view_location location = {
        .address = address, .mapping = mapping, .line_count = symbol->frame_count, .lines = lines};
    return view_profile_add_location(places->profile, &location);
}

static uint32_t add_unmapped(struct view_places *places, uint64_t address) {
    char name[32];
    snprintf(name, sizeof(name), "[unmapped]+0x%llx", (unsigned long long)address);
    const struct view_frame frame = {.name = name, .system_name = name, .file = ""};
    const struct view_symbol symbol = {.frames = &frame, .frame_count = 1};
    return add_location(places, 0, address, &symbol);
}

static uint32_t add_mapped(struct view_places *places, size_t module, uint64_t address) {
    struct view_symbol symbol;
    if (view_session_symbol(&places->session, module, address, &symbol) != 0)
        return 0;
    note_facts(&places->facts[module], &symbol);
    return add_location(places, mapping_of(places, module), address, &symbol);
}

/* Remembers under which id the place of `pc` is. */
static int remember(struct view_places *places, uint64_t pc, uint32_t id) {
    uint64_t *pcs = view_array_grow(places->pcs, id - 1, &places->pc_capacity, sizeof(*pcs));
    if (!pcs)
        return -ENOMEM;
    places->pcs = pcs;
    pcs[id - 1] = pc;
    return view_table_add(&places->table, view_hash_word(0, pc), id);
}

static uint32_t find(const struct view_places *places, uint64_t hash, uint64_t pc) {
    size_t probe = 0;
    uint32_t id;
    while ((id = view_table_next(&places->table, hash, &probe)) != VIEW_TABLE_END) {
        if (places->pcs[id - 1] == pc)
            return id;
    }
    return 0;
}

static uint32_t add(struct view_places *places, uint64_t pc) {
    size_t module = view_module_of(places->snapshot, pc);
    uint64_t address = view_call_address(pc);
    uint32_t id = module == VIEW_NO_MODULE ? add_unmapped(places, address)
                                           : add_mapped(places, module, address);
    if (id == 0 || remember(places, pc, id) != 0)
        places->profile->failed = true;
    return id;
}

uint32_t view_places_location(struct view_places *places, uint64_t pc) {
    uint64_t hash = view_hash_word(0, pc);
    struct view_place_recent *recent = &places->recent[hash >> (64 - VIEW_PLACES_RECENT_BITS)];
    if (recent->id != 0 && recent->pc == pc)
        return recent->id;
    uint32_t id = find(places, hash, pc);
    if (id == 0)
        id = add(places, pc);
    *recent = (struct view_place_recent){pc, id};
    return id;
}

void view_places_end(struct view_places *places) {
    for (size_t i = 0; i < places->snapshot->module_count; i++) {
        const struct view_place_facts *facts = &places->facts[i];
        if (!facts->asked || facts->mapping == 0)
            continue;
        struct view_mapping *mapping = &places->profile->mappings[facts->mapping - 1];
        mapping->has_functions = true;
        mapping->has_filenames = !facts->no_file;
        mapping->has_line_numbers = !facts->no_line;
        mapping->has_inline_frames = !facts->no_inlining;
    }
    view_session_end(&places->session);
    view_table_free(&places->table);
    free(places->pcs);
    free(places->facts);
}
