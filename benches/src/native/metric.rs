//! What is measured of native peers.

use crate::metric::{About, Measured, cost, rate};

/// A number that is measured of native peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    OpenMedian,
    OpenSlow,
    /// Of a mesh of so many.
    Mesh(u32, OfMesh),
    /// Of messages of so many bytes.
    Throughput(u32, OfThroughput),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OfMesh {
    Time,
    Memory,
    SetUpCpu,
    IdleCpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OfThroughput {
    Bytes,
    Messages,
    Cpu,
}

/// Clients in a mesh.
pub(super) const MESHES: [u32; 2] = [16, 32];
/// Bytes of a message.
pub(super) const SIZES: [u32; 4] = [64, 1 << 10, 16 << 10, 64 << 10];

impl Measured for Metric {
    const ALL: &'static [Self] = &{
        let mut all = [Self::OpenMedian; 22];
        all[1] = Self::OpenSlow;
        let mut mesh = 0;
        while mesh < MESHES.len() {
            let (count, at) = (MESHES[mesh], 2 + 4 * mesh);
            all[at] = Self::Mesh(count, OfMesh::Time);
            all[at + 1] = Self::Mesh(count, OfMesh::Memory);
            all[at + 2] = Self::Mesh(count, OfMesh::SetUpCpu);
            all[at + 3] = Self::Mesh(count, OfMesh::IdleCpu);
            mesh += 1;
        }
        let mut size = 0;
        while size < SIZES.len() {
            let (bytes, at) = (SIZES[size], 10 + 3 * size);
            all[at] = Self::Throughput(bytes, OfThroughput::Bytes);
            all[at + 1] = Self::Throughput(bytes, OfThroughput::Messages);
            all[at + 2] = Self::Throughput(bytes, OfThroughput::Cpu);
            size += 1;
        }
        all
    };

    fn about(self) -> About {
        match self {
            Self::OpenMedian => cost("open_p50_ms", "joined until the channel is open, median", "ms", 2).within(5.0),
            Self::OpenSlow => cost("open_p99_ms", "  slowest of a hundred", "ms", 2),
            Self::Mesh(count, of) => of_mesh(count, of),
            Self::Throughput(bytes, of) => of_throughput(bytes, of),
        }
    }

    /// As `perf record` of the parts shows (`rtc-cafe-bench native-part ...`); look again when the client has changed.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Mesh(32, OfMesh::SetUpCpu) => Some(
                "our own code is 3 % of it, keys and signatures are about a third, the kernel is a quarter. What differs \
                 from the bare ends: our clients have a candidate for every address of the machine, those have one.",
            ),
            Self::Throughput(64, OfThroughput::Cpu) => Some(
                "almost half of it goes into sctp-proto, which walks through all that is unacknowledged with every datagram; \
                 our client keeps that to 1,024 messages and hands over many at once, so it costs less than the bare ends, \
                 which poll after each message.",
            ),
            _ => None,
        }
    }
}

fn of_mesh(count: u32, of: OfMesh) -> About {
    match of {
        OfMesh::Time => cost(format!("mesh_{count}_s"), format!("mesh of {count}, until all are connected"), "s", 3),
        OfMesh::Memory => cost(format!("mesh_{count}_memory_kb"), "  memory per end", "KB", 1).within(110.0),
        OfMesh::SetUpCpu => cost(format!("mesh_{count}_set_up_cpu_ms"), "  CPU of the set-up per end", "ms", 2),
        OfMesh::IdleCpu => cost(format!("mesh_{count}_idle_cpu"), "  CPU of an idle end, of a core", "%", 4),
    }
}

fn of_throughput(bytes: u32, of: OfThroughput) -> About {
    let size = if bytes < 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes / 1024) };
    match of {
        OfThroughput::Bytes => {
            let about = rate(format!("throughput_{bytes}_mb_per_second"), format!("messages of {size}"));
            About { unit: "MB/s", digits: 1, ..about }
        }
        OfThroughput::Messages => rate(format!("throughput_{bytes}_messages_per_second"), "  messages"),
        OfThroughput::Cpu => cost(format!("throughput_{bytes}_cpu_s_per_gb"), "  CPU per GB", "s", 1),
    }
}
