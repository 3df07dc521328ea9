//! The one engine that all components of a server share: how they are compiled, what they may use of WebAssembly, and where their memories lie.

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel,
    PoolingAllocationConfig, WasmBacktraceDetails,
};

/// Replicas of components on one server. Each reserves 4 GiB of addresses and takes a few of the 65,530 mappings that the kernel allows.
const REPLICAS_MAX: u32 = 1_024;
/// Memories: one a replica, two where an adapter has its own.
const MEMORIES_MAX: u32 = 2 * REPLICAS_MAX;
/// Core instances and tables: a component from one compiler has four or five.
const CORE_INSTANCES_MAX: u32 = 8 * REPLICAS_MAX;
/// Elements of one table.
const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Memory that stays with a slot when its replica goes: what the next one would touch first.
const KEEP_RESIDENT_BYTES: usize = 64 * 1024;

/// Machine code is valid for exactly this.
const CODE_VERSION: &str = concat!(
    "cohnect ",
    env!("CARGO_PKG_VERSION"),
    " on wasmtime ",
    env!("COHNECT_WASMTIME_VERSION")
);

/// Makes the engine, with memories from a pool where the machine has the addresses for it, else each by itself.
///
/// # Errors
/// What the machine lacks to run compiled code at all.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    match Engine::new(&config(pool())?) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                %error,
                "no room for a pool of component memories; each is mapped by itself, which makes a new replica slower"
            );
            Engine::new(&config(InstanceAllocationStrategy::OnDemand)?)
        }
    }
}

fn config(memories: InstanceAllocationStrategy) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .allocation_strategy(memories)
        .module_version(ModuleVersionStrategy::Custom(CODE_VERSION.into()))?;
    Ok(config)
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(REPLICAS_MAX)
        .total_core_instances(CORE_INSTANCES_MAX)
        .total_memories(MEMORIES_MAX)
        .total_tables(CORE_INSTANCES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .total_stacks(REPLICAS_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_run_without_a_pool_as_well() {
        let engine = Engine::new(&config(InstanceAllocationStrategy::OnDemand).unwrap()).unwrap();
        let component = wasmtime::component::Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        let linker = wasmtime::component::Linker::<()>::new(&engine);
        let mut store = wasmtime::Store::new(&engine, ());
        linker.instantiate(&mut store, &component).unwrap();
    }

    #[test]
    fn code_is_bound_to_the_very_release_that_made_it() {
        let (_ours, theirs) = CODE_VERSION.rsplit_once(' ').unwrap();
        assert_eq!(theirs.split('.').count(), 3, "{CODE_VERSION}");
    }
}
