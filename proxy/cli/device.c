#include "cli/cli.h"

static const struct cli_command *const commands[] = {
    &cli_device_list,
    &cli_device_show,
    &cli_device_add,
    &cli_device_set,
    &cli_device_remove,
    &cli_device_import,
    &cli_device_diff,
    &cli_device_encrypt,
    &cli_device_decrypt,
    NULL,
};

/* clang-format off */
static const char help[] =
"Looks after the credential map. What changes it keeps comments and order,\n"
"tries the new map before it takes the old one's place, and then replaces the\n"
"file in one step or not at all. A running proxy takes it over by itself.\n";
/* clang-format on */

const struct cli_command cli_device = {
    .name = "device",
    .summary = "look after the map: list, add, change, import devices",
    .commands = commands,
    .help = help,
};
