//! How many candidates beat a row's partner, and how many equal it, between two sets.
//!
//! ```text
//! text j -> image    image_of(j) against every other image
//! image k -> text    the most similar of its own texts against every text that is not its own
//! rank = 1 + greater + equal / 2
//! ```
//!
//! Cosines are float32 sums from rows narrower than float64, and float64 sums from float64 rows (error
//! below the bound of [`crate::math::product`]). Comparisons are exact: a partner's cosine is computed
//! with the bits that it has in a tile, so identical rows tie. Both directions come of one pass over
//! the tiles; memory is a few numbers per row and the tiles of each thread. What is counted among the
//! candidates within some blocks of images adds up with the rest: `equal` is what is neither greater nor
//! less among all.

use super::partners::{
    check_dim, count_in_place, count_of, counts_of, take_out, unit_scale, whole_blocks, with_both,
};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::pack::ScaledRows;
use crate::rows::AnyRows;
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::tiles::{SIDE, Tile, Which, for_each_tile, pair_products};
use std::ops::Range;

/// How the candidates of each row compare with its partner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Candidates of greater cosine.
    pub greater: Vec<u64>,
    /// Candidates of less cosine.
    pub less: Vec<u64>,
}

/// Counts for the images among the texts, and for the texts among the images, where the image is of
/// some `blocks`. Text `j` belongs to image `image_of[j]`; an image without a text has every text above
/// it.
///
/// # Panics
/// If `image_of` has not one entry for each text, or one that is no image.
pub fn retrieval_counts(
    image: AnyRows,
    text: AnyRows,
    image_of: &[usize],
    blocks: Range<usize>,
    context: &Context,
) -> Result<(Counts, Counts), Error> {
    check_dim("text", text, image.dim())?;
    assert!(image_of.len() == text.count() && image_of.iter().all(|&i| i < image.count()));
    let scales = (unit_scale(image, "image", context)?, unit_scale(text, "text", context)?);
    with_both!(image, "text", text, (image, text) => of_units(
        ScaledRows::new(image, &scales.0),
        ScaledRows::new(text, &scales.1),
        image_of,
        blocks,
        context,
    ))
}

fn of_units<E: Element>(
    image: ScaledRows<E>,
    text: ScaledRows<E>,
    image_of: &[usize],
    blocks: Range<usize>,
    context: &Context,
) -> Result<(Counts, Counts), Error> {
    let of_text = pair_products(text, image, |j| image_of[j], context)?;
    let mut of_image = vec![E::Real::from_f64(f64::NEG_INFINITY); image.rows.count()];
    for (&i, &product) in image_of.iter().zip(&of_text) {
        if product > of_image[i] {
            of_image[i] = product;
        }
    }
    let of_image = whole_blocks(of_image);
    let mut images = Counts::new(image.rows.count());
    let mut texts = Counts::new(text.rows.count());
    for_each_tile(
        image,
        text,
        Which::All(blocks),
        context,
        |place, tile| {
            take_out(tile, |j| image_of[j]);
            let (left, right) = (&of_image[place.left * SIDE..], &of_text[tile.right.clone()]);
            context.level.dispatch(Compare { tile, left, right })
        },
        |place, (left, right)| {
            images.add(place.left, left);
            texts.add(place.right, right);
        },
    )?;
    Ok((images, texts))
}

impl Counts {
    fn new(count: usize) -> Self {
        Counts { greater: vec![0; count], less: vec![0; count] }
    }

    /// Adds what a tile found for the rows of a block.
    fn add(&mut self, block: usize, part: Counts) {
        for (sums, part) in [(&mut self.greater, part.greater), (&mut self.less, part.less)] {
            sums[block * SIDE..].iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        }
    }
}

/// Compares each product of a tile with the partners of its left row and of its right row.
struct Compare<'a, 'b, T> {
    tile: &'a mut Tile<'b, T>,
    /// Of each left row, up to whole panels.
    left: &'a [T],
    right: &'a [T],
}

impl<T: Real> Kernel for Compare<'_, '_, T> {
    type Output = (Counts, Counts);
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let (height, lanes) = (self.tile.left.len(), T::lanes::<I>());
        let (_, stride) = self.tile.products();
        let (mut left_greater, mut left_less) = (vec![T::default(); stride], vec![T::default(); stride]);
        let mut right = Counts::new(0);
        let partners = &self.left[..stride];
        for (j, &partner) in self.right.iter().enumerate() {
            let column = self.tile.whole_column(j);
            // What fills the last panel is no candidate.
            column[height..].fill(T::from_f64(f64::NAN));
            let partner = T::splat(isa, partner);
            let (mut greater, mut less) = (T::zero(isa), T::zero(isa));
            for i in (0..stride).step_by(lanes) {
                // SAFETY: i + lanes <= stride, the length of column, partners and sums, because panels
                // are whole registers.
                unsafe {
                    let x = T::load_real(isa, column[i..].as_ptr());
                    let own = T::load_real(isa, partners[i..].as_ptr());
                    greater = T::count_greater(isa, greater, x, partner);
                    less = T::count_greater(isa, less, partner, x);
                    count_in_place(isa, left_greater[i..].as_mut_ptr(), x, own);
                    count_in_place(isa, left_less[i..].as_mut_ptr(), own, x);
                }
            }
            right.greater.push(count_of::<T, I>(isa, greater));
            right.less.push(count_of::<T, I>(isa, less));
        }
        (Counts { greater: counts_of(&left_greater[..height]), less: counts_of(&left_less[..height]) }, right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use crate::error::Status;
    use crate::testing::{data, everywhere};
    use crate::tiles::EVERY;

    /// By the definition, from cosines in float64; exact for rows of few distinct directions.
    fn naive(x: &[f64], y: &[f64], d: usize, image_of: &[usize]) -> (Counts, Counts) {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = |i: usize, j: usize| {
            let (a, b) = (&x[i * d..][..d], &y[j * d..][..d]);
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let (n, m) = (x.len() / d, y.len() / d);
        let (mut images, mut texts) = (Counts::default(), Counts::default());
        // A tie of the library is one of identical rows, whose cosines differ by rounding alone here.
        let count = |into: &mut Counts, rivals: Vec<f64>, partner: f64| {
            into.greater.push(rivals.iter().filter(|&&c| c > partner + 1e-9).count() as u64);
            into.less.push(rivals.iter().filter(|&&c| c < partner - 1e-9).count() as u64);
        };
        for i in 0..n {
            let own = (0..m).filter(|&j| image_of[j] == i).map(|j| cosine(i, j));
            let rivals = (0..m).filter(|&j| image_of[j] != i).map(|j| cosine(i, j)).collect();
            count(&mut images, rivals, own.fold(f64::NEG_INFINITY, f64::max));
        }
        for j in 0..m {
            let rivals = (0..n).filter(|&i| i != image_of[j]).map(|i| cosine(i, j)).collect();
            count(&mut texts, rivals, cosine(image_of[j], j));
        }
        (images, texts)
    }

    #[test]
    fn equals_the_definition_off_every_tile_boundary() {
        for (n, captions, d) in [(2, 1, 1), (31, 3, 2), (SIDE + 1, 1, 7), (2 * SIDE - 1, 2, 33), (70, 5, 130)]
        {
            let m = n * captions;
            // Texts of one image lie far apart; every seventh row is one that another has too.
            let image_of: Vec<usize> = (0..m).map(|j| (j + j / n) % n).collect();
            let (mut x, mut y) = (data(n, d), data(m, d));
            for row in (7..n).step_by(7) {
                x.copy_within(0..d, row * d);
            }
            for row in (7..m).step_by(7) {
                y.copy_within(d..2 * d, row * d);
            }
            let want = naive(&x, &y, d, &image_of);
            everywhere(|context| {
                let (image, text) = (Rows::new(&x, d), Rows::new(&y, d));
                let among = |blocks| {
                    let (image, text) = (AnyRows::F64(image), AnyRows::F64(text));
                    retrieval_counts(image, text, &image_of, blocks, context).unwrap()
                };
                assert!(among(EVERY) == want, "{n} {captions} {d} {:?}", context.level);
                let (mut images, mut texts) = among(0..1);
                let rest = among(1..n);
                images.add(0, rest.0);
                texts.add(0, rest.1);
                assert!((images, texts) == want, "{n} {captions} {d} in two parts");
            });
        }
    }

    #[test]
    fn a_constant_embedding_ties_with_everything() {
        let n = SIDE + 3;
        let x: Vec<f32> = (0..n).flat_map(|_| [0.3, -0.2, 0.9]).collect();
        let own: Vec<usize> = (0..n).collect();
        everywhere(|context| {
            let rows = AnyRows::F32(Rows::new(&x, 3));
            let (images, texts) = retrieval_counts(rows, rows, &own, EVERY, context).unwrap();
            assert_eq!(images, Counts { greater: vec![0; n], less: vec![0; n] });
            assert_eq!(images, texts);
        });
    }

    #[test]
    fn the_set_at_fault_is_named() {
        let (x, mut y) = (data(20, 4), data(20, 4));
        y[4 * 17..4 * 18].fill(0.0);
        let own: Vec<usize> = (0..20).collect();
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        everywhere(|context| {
            let (good, bad) = (AnyRows::F64(Rows::new(&x, 4)), AnyRows::F64(Rows::new(&y, 4)));
            let error = |image, text| retrieval_counts(image, text, &own, EVERY, context).unwrap_err();
            let invalid = |set| Error::InvalidRowOf { set, row: 17, status: Status::ZeroNorm };
            assert_eq!(error(good, bad), invalid("text"));
            assert_eq!(error(bad, good), invalid("image"));
            assert_eq!(
                error(good, AnyRows::F64(Rows::new(&y[..60], 3))),
                Error::Dimension { what: "text", found: 3, expected: 4 }
            );
            assert_eq!(
                error(good, AnyRows::F32(Rows::new(&narrow, 4))),
                Error::ElementType { what: "text", found: "float32", expected: "float64" }
            );
        });
    }
}
