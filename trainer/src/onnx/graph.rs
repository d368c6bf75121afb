//! Builds a graph node by node: constants, operators, and the names of values between them.

use lightwafer_runtime::graph::Op;

use super::proto::{
    Attribute, AttributeType, DataType, Dimension, Graph, Node, Shape, Tensor, TensorType, Type,
    ValueInfo,
};
use crate::topology::layers::kernel;

/// A number format of constants.
pub trait Element: Copy {
    /// Its name in the file.
    const TYPE: DataType;
    /// Appends its bytes, little endian.
    fn append(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($number:ty => $name:ident),*) => {$(
        impl Element for $number {
            const TYPE: DataType = DataType::$name;
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}
element!(f32 => Float, i8 => Int8, i32 => Int32);

/// An axis of an input or output.
#[derive(Debug, Clone, Copy)]
pub enum Axis {
    /// As many as the caller gives.
    Batch,
    /// Always this many.
    Fixed(usize),
}

/// A graph that grows.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// An empty graph of this name.
    pub fn new(name: &str) -> Self {
        let graph = Graph {
            name: name.into(),
            ..Graph::default()
        };
        Self { graph }
    }

    /// A constant of this shape, row-major; a scalar for an empty one. Returns its name.
    pub fn constant<T: Element>(&mut self, name: &str, dims: &[i64], values: &[T]) -> String {
        let mut raw_data = Vec::new();
        values.iter().for_each(|value| value.append(&mut raw_data));
        self.graph.initializer.push(Tensor {
            dims: dims.to_vec(),
            data_type: T::TYPE as i32,
            name: name.into(),
            raw_data,
        });
        name.into()
    }

    /// An operator whose one output is called `name`, as it is itself. Returns that name.
    pub fn node(
        &mut self,
        op_type: &str,
        name: &str,
        input: &[&str],
        attribute: Vec<Attribute>,
    ) -> String {
        self.graph.node.push(Node {
            input: input.iter().map(|name| (*name).into()).collect(),
            output: vec![name.into()],
            name: name.into(),
            op_type: op_type.into(),
            attribute,
        });
        name.into()
    }

    /// The operator that a layer of the model image is, over `input` (values, weights and a bias; values
    /// alone for a pool).
    pub fn layer(&mut self, op: Op, name: &str, input: &[&str], channels: usize) -> String {
        let side = kernel(op) as i64;
        let (op_type, attributes) = match op {
            Op::ImageConv3x3 | Op::Conv3x3 | Op::Pointwise | Op::MaskHead => {
                ("Conv", window(side, 1, side / 2))
            }
            Op::Depthwise3x3 => {
                let mut attributes = window(side, 1, side / 2);
                attributes.push(int("group", channels as i64));
                ("Conv", attributes)
            }
            Op::TransposedConv2x2 => ("ConvTranspose", window(side, side, 0)),
            Op::MaxPool2 => ("MaxPool", window(side, side, 0)),
            Op::AvgPool2 => ("AveragePool", window(side, side, 0)),
            // Weights [class][ci], as a linear layer has them.
            Op::ClassHead => ("Gemm", vec![int("transB", 1)]),
        };
        self.node(op_type, name, input, attributes)
    }

    /// 2×2 means as a convolution of each channel with itself, over values, weights and a bias.
    pub fn mean_as_convolution(&mut self, name: &str, input: &[&str], channels: usize) -> String {
        let mut attributes = window(2, 2, 0);
        attributes.push(int("group", channels as i64));
        self.node("Conv", name, input, attributes)
    }

    /// The mean over all pixels: (N, C, H, W) becomes (N, C).
    pub fn global_mean(&mut self, name: &str, pooled: &str, input: &str) -> String {
        let mean = self.node("GlobalAveragePool", pooled, &[input], vec![]);
        self.node("Flatten", name, &[&mean], vec![int("axis", 1)])
    }

    /// The channels of several tensors, one after the other.
    pub fn concat(&mut self, name: &str, inputs: &[&str]) -> String {
        self.node("Concat", name, inputs, vec![int("axis", 1)])
    }

    /// Declares an input of 32-bit floats.
    pub fn input(&mut self, name: &str, axes: &[Axis], meaning: &str) {
        self.graph.input.push(value(name, axes, meaning));
    }

    /// Declares an output of 32-bit floats.
    pub fn output(&mut self, name: &str, axes: &[Axis], meaning: &str) {
        self.graph.output.push(value(name, axes, meaning));
    }

    /// The graph.
    pub fn finish(self) -> Graph {
        self.graph
    }
}

/// A square window of `kernel` pixels, `stride` apart.
fn window(kernel: i64, stride: i64, pad: i64) -> Vec<Attribute> {
    vec![
        ints("kernel_shape", &[kernel; 2]),
        ints("strides", &[stride; 2]),
        ints("pads", &[pad; 4]),
    ]
}

fn value(name: &str, axes: &[Axis], meaning: &str) -> ValueInfo {
    let dimension = |axis: &Axis| match axis {
        Axis::Batch => Dimension {
            dim_value: None,
            dim_param: Some("N".into()),
        },
        Axis::Fixed(length) => Dimension {
            dim_value: Some(*length as i64),
            dim_param: None,
        },
    };
    let shape = Shape {
        dim: axes.iter().map(dimension).collect(),
    };
    let tensor = TensorType {
        elem_type: DataType::Float as i32,
        shape: Some(shape),
    };
    ValueInfo {
        name: name.into(),
        r#type: Some(Type {
            tensor_type: Some(tensor),
        }),
        doc_string: meaning.into(),
    }
}

/// A setting that is one integer.
pub fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        name: name.into(),
        i: Some(value),
        ints: vec![],
        r#type: AttributeType::Int as i32,
    }
}

/// A setting that is several integers.
pub fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute {
        name: name.into(),
        i: None,
        ints: values.to_vec(),
        r#type: AttributeType::Ints as i32,
    }
}
